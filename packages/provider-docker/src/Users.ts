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

/** Whether the engine and we understand a user alike: a name of the image's, or a number; a group likewise behind a colon. */
export const isUsable = (user: string): boolean =>
  /^([a-z_][a-z0-9_.-]*\$?|\d{1,10})(:([a-z_][a-z0-9_.-]*|\d{1,10}))?$/i.test(user)

/** The user of a container, as numbers. */
export const ownerOf = Effect.fnUntraced(function* ({ Config, Id }: Engine.Container) {
  const [user = "", group] = Config.User.split(":")
  const known = isNumber(user) && group !== undefined ? undefined : find(yield* listOf(Id, "/etc/passwd"), user)
  const uid = isNumber(user) ? user : known?.[2]
  if (uid === undefined) return yield* unknown("user", user)
  // the engine gives a number without a group the group 0, unless the image knows the number
  if (group === undefined) return { uid: Number(uid), gid: Number(known?.[3] ?? 0) } satisfies Owner
  const gid = isNumber(group) ? group : find(yield* listOf(Id, "/etc/group"), group)?.[2]
  if (gid === undefined) return yield* unknown("group", group)
  return { uid: Number(uid), gid: Number(gid) } satisfies Owner
})

const isNumber = (text: string): boolean => /^\d+$/.test(text)

const unknown = (what: "user" | "group", name: string) =>
  new Refused({
    reason: "Invalid",
    message: `The image has no ${what} ${name}; name one that it has, or numbers such as 1000:1000.`
  })

/** The entry of a name, or of a number. */
const find = (list: ReadonlyArray<ReadonlyArray<string>>, which: string) =>
  list.find(([name]) => name === which) ?? list.find(([, , number]) => number === which)

/** An image's list of users or of groups; an empty one where it has none. */
const listOf = Effect.fnUntraced(function* (container: string, path: "/etc/passwd" | "/etc/group") {
  const bytes = yield* Stream.mkUint8Array(Engine.readArchive(container, path)).pipe(
    Effect.catchIf(
      (error) => error instanceof EngineError && error.status === 404,
      () => Effect.succeed(new Uint8Array(0))
    )
  )
  // the archive of one file: what does not look like a line of it is a header, or fills up the last block
  const lines = new TextDecoder().decode(bytes).split(/[\n\0]+/)
  return lines.map((line) => line.split(":")).filter(([, , number]) => isNumber(number ?? ""))
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
