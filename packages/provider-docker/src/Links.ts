/** Links in a box that an archive would be unpacked through: the engine follows them, to wherever they lead. */
import * as Archive from "@org/sandbox-core/Archive"
import { Effect, Stream } from "effect"
import { Refused } from "./DockerError.ts"
import * as Engine from "./Engine.ts"

/** Fails where one of these directories, by their names in an archive, is a link below the target. */
export const refuse = Effect.fnUntraced(function* (
  container: string,
  target: string,
  directories: ReadonlySet<string>
) {
  const links = directories.size > few ? yield* allIn(container, target, directories.size * quick) : undefined
  const found =
    links === undefined
      ? yield* among(container, target, directories)
      : [...directories].find((path) => links.has(path))
  if (found === undefined) return
  const name = JSON.stringify(Archive.fromName(found))
  return yield* new Refused({
    reason: "Invalid",
    message: `The archive goes through ${name}, which is a link in the box.`
  })
})

/** So many directories are asked for one by one at once. */
const few = 8

/** So many bytes of what is there are looked through in less time than it takes to ask for a directory. */
const quick = 2 ** 17

/** All links below a directory; nothing where more bytes than that are in it. */
const allIn = Effect.fnUntraced(function* (container: string, target: string, most: number) {
  const links = new Set<string>()
  const check = ({ kind, path, target }: Archive.Entry) => {
    if (kind === "symlink" || (kind === "hardlink" && links.has(target))) links.add(path)
    return undefined
  }
  let seen = 0
  const start = Stream.takeWhile(Engine.readArchive(container, `${target}/.`), ({ length }) => {
    seen += length
    return seen <= most
  })
  return yield* Stream.runDrain(Archive.rewrite(start, Archive.tally(), { check })).pipe(
    Effect.as(links),
    Effect.catchTag("Unusable", () => Effect.succeed(undefined))
  )
})

/** One of the directories that is a link, each asked for once. */
const among = Effect.fnUntraced(function* (container: string, target: string, directories: ReadonlySet<string>) {
  let level = [...directories].filter((path) => !path.includes("/"))
  while (level.length > 0) {
    const there = new Set<string>()
    const found = yield* Effect.forEach(
      level,
      Effect.fnUntraced(function* (path) {
        const info = yield* Engine.pathInfo(container, `${target}/${Archive.fromName(path)}`)
        if (info !== undefined) there.add(path)
        return info === undefined || info.linkTarget === "" ? undefined : path
      }),
      { concurrency: few }
    )
    const link = found.find((path) => path !== undefined)
    if (link !== undefined) return link
    // below what is not there nothing is
    level = [...directories].filter((path) => {
      const above = path.lastIndexOf("/")
      return above > 0 && there.has(path.slice(0, above))
    })
  }
  return undefined
})
