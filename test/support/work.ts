/** Work in a checkout: some of every kind, and a listing by which two checkouts can be told apart. */
import { execFileSync } from "node:child_process"
import { createHash } from "node:crypto"
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync
} from "node:fs"
import { join } from "node:path"

const git = (directory: string, ...args: ReadonlyArray<string>): string =>
  execFileSync("git", ["-C", directory, "-c", "user.name=t", "-c", "user.email=t@example.com", ...args], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"]
  })

/** Leaves a commit, staged and unstaged changes, and files, links and directories that git does not know. */
export const work = (directory: string): void => {
  writeFileSync(join(directory, "committed.txt"), "in a commit of its own\n")
  git(directory, "add", "committed.txt")
  git(directory, "commit", "--quiet", "--message", "work that nobody else has")
  writeFileSync(join(directory, "src.txt"), "staged\n")
  git(directory, "add", "src.txt")
  writeFileSync(join(directory, "src.txt"), "staged, and changed again\n")
  git(directory, "rm", "--quiet", "--cached", "README.md")
  writeFileSync(
    join(directory, "binary"),
    Uint8Array.from({ length: 70_000 }, (_, at) => (at * 31) % 256)
  )
  writeFileSync(join(directory, "run.sh"), "#!/bin/sh\n")
  chmodSync(join(directory, "run.sh"), 0o755)
  symlinkSync("nowhere", join(directory, "dangling"))
  mkdirSync(join(directory, "deep/empty"), { recursive: true })
  writeFileSync(join(directory, "deep/a name\nwith “more”"), "odd\n")
}

/** What `git status` says, byte for byte. */
export const status = (directory: string): string =>
  git(directory, "status", "--porcelain=v2", "--untracked-files=all", "-z")

/** Every file, link and directory with its mode and digest, `.git` left out. */
export const listing = (directory: string): ReadonlyArray<string> => {
  const lines: Array<string> = []
  const walk = (path: string): void => {
    for (const name of readdirSync(join(directory, path)).toSorted()) {
      const relative = join(path, name)
      if (relative === ".git") continue
      const seen = lstatSync(join(directory, relative))
      if (seen.isSymbolicLink()) lines.push(`${relative} -> ${readlinkSync(join(directory, relative))}`)
      else if (seen.isDirectory()) {
        lines.push(`${relative}/`)
        walk(relative)
      } else {
        const digest = createHash("sha256")
          .update(readFileSync(join(directory, relative)))
          .digest("hex")
        lines.push(`${relative} ${(seen.mode & 0o777).toString(8)} ${digest}`)
      }
    }
  }
  walk("")
  return lines
}

/** Everything that may not be lost: the commit, the index and the files. */
export const everything = (directory: string) => ({
  head: git(directory, "rev-parse", "HEAD").trim(),
  status: status(directory),
  files: listing(directory)
})

/** Removes a checkout's work, as somebody might by mistake. */
export const wreck = (directory: string): void => {
  git(directory, "reset", "--quiet", "--hard")
  for (const name of ["binary", "run.sh", "dangling", "deep"])
    rmSync(join(directory, name), { recursive: true, force: true })
  writeFileSync(join(directory, "other.txt"), "something else\n")
}
