/** What of a repository's configuration git on this host may believe, whoever wrote it. */
import { Effect } from "effect"
import * as Git from "../../Git.ts"

/** What says how the repository is stored, or who works in it; nothing that runs a program or names a place. */
const allowed: ReadonlyArray<string> = [
  "core.repositoryformatversion",
  "core.filemode",
  "core.ignorecase",
  "core.precomposeunicode",
  "core.symlinks",
  "core.autocrlf",
  "core.eol",
  "extensions.objectformat",
  "extensions.refstorage",
  "user.name",
  "user.email"
]

/**
 * The configuration in a file with nothing in it but what is allowed; empty for a file that git cannot read. It is read as a
 * file, so that it includes no other.
 */
export const harmless = Effect.fnUntraced(function* (file: string) {
  const listed = yield* Git.run(["config", "--file", file, "--no-includes", "--list", "-z"])
  const values = new Map(
    listed.stdout.split("\0").flatMap((entry): ReadonlyArray<readonly [string, string]> => {
      const end = entry.indexOf("\n")
      const key = end < 0 ? entry : entry.slice(0, end)
      // a key without a value is true
      return allowed.includes(key) ? [[key, end < 0 ? "true" : entry.slice(end + 1)]] : []
    })
  )
  return [...values]
    .map(([key, value]) => {
      const [section = "", name = ""] = key.split(".")
      return `[${section}]\n\t${name} = ${quoted(value)}\n`
    })
    .join("")
})

const quoted = (value: string): string =>
  `"${value.replaceAll(/["\\]/g, "\\$&").replaceAll("\n", "\\n").replaceAll("\t", "\\t").replaceAll("\b", "\\b")}"`
