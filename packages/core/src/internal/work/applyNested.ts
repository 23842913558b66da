/** Repositories inside a restored checkout: making those that are not there. */
import { Effect, FileSystem, Path } from "effect"
import * as Git from "../../Git.ts"
import { isSafePath, type Nested } from "../../Work.ts"
import { type Checkout, text } from "./checkout.ts"

/** Makes an empty repository at the place, when none is there. A submodule gets the layout that git gives it. */
export const prepare = Effect.fnUntraced(function* (checkout: Checkout, nested: Nested) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const directory = path.join(checkout.directory, nested.path)
  if (yield* fs.exists(path.join(directory, ".git"))) return directory
  const init = ["init", "--quiet", "--template=", `--object-format=${nested.work.object_format}`]
  if (!nested.submodule) {
    yield* Git.output([...init, "--", directory])
    return directory
  }
  const { name, url } = yield* declared(checkout, nested.path)
  const repository = path.join(checkout.gitDir, "modules", name)
  const config = ["config", "--file", path.join(repository, "config")]
  const isThere = yield* fs.exists(path.join(repository, "HEAD"))
  if (!isThere) {
    yield* fs.makeDirectory(path.dirname(repository), { recursive: true })
    yield* Git.output([...init, `--separate-git-dir=${repository}`, "--", directory])
  }
  // a repository apart says where its files are, or a command in it would not find them; as git does, wherever both are moved
  yield* fs.writeFileString(path.join(directory, ".git"), `gitdir: ${path.relative(directory, repository)}\n`)
  yield* Git.output([...config, "core.worktree", path.relative(repository, directory)])
  if (isThere) return directory
  if (url !== undefined) {
    yield* Git.output([...config, "remote.origin.url", url])
    yield* Git.output([...config, "remote.origin.fetch", "+refs/heads/*:refs/remotes/origin/*"])
  }
  return directory
})

/** What `.gitmodules` calls the submodule, and where it comes from as far as that can be said without a remote. */
const declared = Effect.fnUntraced(function* (checkout: Checkout, at: string) {
  const path = yield* Path.Path
  const fs = yield* FileSystem.FileSystem
  const file = path.join(checkout.directory, ".gitmodules")
  // git takes no link for it either
  if (yield* Effect.isSuccess(fs.readLink(file))) return { name: at, url: undefined }
  const args = ["config", "--file", file, "-z", "--get-regexp", "^submodule\\..*\\.(path|url)$"]
  const rows = (yield* text(checkout, args, { codes: [0, 1] })).split("\0").map((row) => {
    const end = row.indexOf("\n")
    const [, name = "", key = ""] = /^submodule\.(.*)\.([^.]*)$/s.exec(row.slice(0, end)) ?? []
    return { name, key, value: row.slice(end + 1) }
  })
  const found = rows.find(({ key, value }) => key === "path" && value === at)?.name
  const url = rows.find(({ key, name }) => key === "url" && name === found)?.value
  return {
    name: found !== undefined && isSafePath(found) ? found : at,
    url: url === undefined || /^\.|^-/.test(url) ? undefined : url
  }
})
