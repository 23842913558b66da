/** Files in and out of a container, as tar archives that the engine packs and unpacks, whether it runs or not. */
import * as Archive from "@org/sandbox-core/Archive"
import { Effect, FileSystem, Option, type PlatformError, Stream } from "effect"
import { mount, places } from "./Container.ts"
import { type EngineError, Refused } from "./DockerError.ts"
import * as Engine from "./Engine.ts"
import * as Links from "./Links.ts"

const resolved = (path: string): string => {
  const parts: Array<string> = []
  for (const part of (path.startsWith("/") ? path : `${places.work}/${path}`).split("/")) {
    if (part === "..") parts.pop()
    else if (part !== "" && part !== ".") parts.push(part)
  }
  return `/${parts.join("/")}`
}

const missing = (path: string) => new Refused({ reason: "NotFound", message: `There is no ${path} in the box.` })

/** Where the engine sees another file system than commands do, or none. */
const unseen = (path: string, { HostConfig }: Engine.Container): boolean =>
  /^\/(dev|proc|sys)(\/|$)/.test(path) || (HostConfig.ReadonlyRootfs && /^\/tmp(\/|$)/.test(path))

const inMemory = (path: string) =>
  new Refused({
    reason: "Invalid",
    message: `${path} is in memory, where the engine sees no files: use another place, or a command, as with \`sandbox exec\`.`
  })

const unwritten =
  (path: string) =>
  (error: EngineError): Effect.Effect<never, EngineError | Refused> => {
    const refuse = (message: string) => new Refused({ reason: "Invalid", message })
    if (/marked read-only/.test(error.message)) {
      return refuse(
        `${path} is on the root of the box, which is read-only: copy to the checkout, or leave read_only_root out.`
      )
    }
    // the engine does not say which part of its words is the name
    const [, link] = /invalid (?:sym|hard)?link (.*)$/.exec(error.message) ?? []
    return link === undefined
      ? error
      : refuse(
          `The engine makes no links that lead out of ${mount} where the root of the box is read-only: ${link}. Leave the link out, or read_only_root.`
        )
  }

/**
 * What the engine is told to unpack in: it makes no link that leads out of that, although one may lead anywhere in the box.
 * A root that is read-only is no place to unpack in.
 */
const baseOf = (target: string, { HostConfig }: Engine.Container): string => {
  if (!HostConfig.ReadonlyRootfs) return ""
  return target.startsWith(`${mount}/`) ? mount : target
}

/** One file or directory under its own last name, links as links. */
export const read = (container: Engine.Container, path: string) => {
  const source = resolved(path)
  if (unseen(source, container)) return Stream.fail(inMemory(path))
  return Stream.catchIf(Engine.readArchive(container.Id, source), Engine.isNoPath, () => Stream.fail(missing(path)))
}

/**
 * Unpacks into a directory that exists, everything belonging to the box's user.
 *
 * The archive is kept aside first, on this host: one that is damaged, or that names a place outside of the directory,
 * changes nothing.
 */
export const write = Effect.fnUntraced(function* (
  container: Engine.Container,
  {
    archive,
    directory,
    owner
  }: {
    readonly directory: string
    readonly archive: Stream.Stream<Uint8Array>
    readonly owner: { readonly uid: number; readonly gid: number }
  }
) {
  const target = resolved(directory)
  if (unseen(target, container)) return yield* inMemory(directory)
  const place = yield* Engine.pathInfo(container.Id, `${target}/.`)
  if (place === undefined) {
    const what = yield* Engine.pathInfo(container.Id, target)
    if (what === undefined) return yield* missing(`directory ${directory}`)
    return yield* new Refused({ reason: "Invalid", message: `${directory} is not a directory.` })
  }
  const parents = new Set<string>()
  const check = ({ path }: Archive.Entry) => {
    for (let at = path.indexOf("/"); at >= 0; at = path.indexOf("/", at + 1)) parents.add(path.slice(0, at))
    return undefined
  }
  const base = baseOf(target, container)
  const prefix = Archive.toName(target.slice(base.length + 1))
  const rename = (path: string) => (path === "" || prefix === "" ? path : `${prefix}/${path}`)
  const spool = yield* aside
  yield* Archive.rewrite(archive, Archive.tally(), { check, owner, rename }).pipe(
    Stream.mapError(({ message }) => new Refused({ reason: "Invalid", message })),
    Stream.runForEach((bytes) => Effect.mapError(spool.writeAll(bytes), full))
  )
  yield* Links.refuse(container.Id, target, parents)
  yield* Effect.catchTag(
    Engine.writeArchive(container.Id, base === "" ? "/" : base, contentOf(spool)),
    "EngineError",
    unwritten(directory)
  )
}, Effect.scoped)

const full = ({ message }: PlatformError.PlatformError) =>
  new Refused({ reason: "QuotaExceeded", message: `There is no room on this host for what is copied: ${message}` })

/** A file without a name: it is gone with whoever writes it, however that ends. */
const aside = Effect.gen(function* () {
  const fs = yield* FileSystem.FileSystem
  const directory = yield* fs.makeTempDirectoryScoped({ prefix: "sandbox-docker-" })
  const file = yield* fs.open(`${directory}/archive`, { flag: "w+", mode: 0o600 })
  yield* fs.remove(directory, { recursive: true })
  return file
}).pipe(Effect.mapError(full))

const contentOf = (file: FileSystem.File): Stream.Stream<Uint8Array> =>
  Stream.unwrap(
    Effect.as(
      file.seek(0n, "start"),
      Stream.unfold(undefined, () =>
        Effect.map(file.readAlloc(256 * 1024), (chunk) =>
          Option.isNone(chunk) ? undefined : ([chunk.value, undefined] as const)
        )
      )
    )
  ).pipe(Stream.orDie)
