/** Who owns what in a box: users of its image, as numbers. */
import * as Archive from "@org/sandbox-core/Archive"
import { Effect, Stream } from "effect"
import { mount, places } from "./Container.ts"
import { EngineError, Refused } from "./DockerError.ts"
import * as Engine from "./Engine.ts"

/** Numbers of a user and of a group. */
export interface Owner {
  readonly uid: number
  readonly gid: number
}

/** Whether the engine and we understand a user alike: a name of the image's, or numbers. */
export const isUsable = (user: string): boolean => /^([a-z_][a-z0-9_.-]*\$?|\d+(:\d+)?)$/i.test(user)

/** The user of a container, as numbers. */
export const ownerOf = Effect.fnUntraced(function* ({ Config, Id }: Engine.Container) {
  const [, uid, gid] = /^(\d+)(?::(\d+))?$/.exec(Config.User) ?? []
  // the engine gives a number without a group the group 0, unless the image knows the number
  if (uid !== undefined && gid !== undefined) return { uid: Number(uid), gid: Number(gid) } satisfies Owner
  const passwd = yield* passwdOf(Id)
  const entry = passwd.find(([name, number]) => name === Config.User || number === uid)
  if (entry !== undefined) return { uid: Number(entry[1]), gid: Number(entry[2]) } satisfies Owner
  if (uid !== undefined) return { uid: Number(uid), gid: 0 } satisfies Owner
  return yield* new Refused({
    reason: "Invalid",
    message: `The image has no user ${Config.User}; name one that it has, or numbers such as 1000:1000.`
  })
})

/** Name, uid and gid of each user of an image; nobody where it has no list of them. */
const passwdOf = Effect.fnUntraced(function* (container: string) {
  const bytes = yield* Stream.mkUint8Array(Engine.readArchive(container, "/etc/passwd")).pipe(
    Effect.catchIf(
      (error) => error instanceof EngineError && error.status === 404,
      () => Effect.succeed(new Uint8Array(0))
    )
  )
  // the archive of one file: what does not look like a line of it is a header, or fills up the last block
  const lines = new TextDecoder().decode(bytes).split(/[\n\0]+/)
  return lines.flatMap((line) => {
    const [name, , uid, gid, , , ...more] = line.split(":")
    return name !== undefined && /^\d+$/.test(uid ?? "") && /^\d+$/.test(gid ?? "") && more.length === 1
      ? [[name, uid!, gid!] as const]
      : []
  })
})

/** Makes the directories of a box, for its user. Again is success. */
export const prepare = Effect.fnUntraced(function* (container: Engine.Container) {
  const owner = yield* ownerOf(container)
  const below = (path: string, mode: number) => ({ path: path.slice(mount.length + 1), mode })
  const archive = Archive.directories(
    [below(places.work, 0o755), below(places.run, 0o700), below(places.home, 0o700)],
    owner
  )
  yield* Engine.writeArchive(container.Id, mount, Stream.make(archive))
})
