/** A clone that needs nothing but itself, to be moved to where only the box can see it. */
import { Effect } from "effect"
import * as Git from "../../Git.ts"
import * as Mirror from "../../Mirror.ts"
import type { WorkspaceSource } from "../../Provisioner.ts"
import * as Repository from "../../Repository.ts"
import { unconfigured } from "../export/stage.ts"
import { failed } from "../work/blobs.ts"

const { timeout } = Mirror

/**
 * Clones into a directory that is not there yet. All objects are its own, nothing of this host's git is in it, and its files
 * are as the repository has them: the filters of this host's user are not in the box.
 *
 * The branches of the repository become those of `origin`, so that it can be told what is nowhere else. Only a URL is a remote
 * of that name too: a path of this host means nothing in the box.
 */
export const clone = Effect.fnUntraced(
  function* (source: WorkspaceSource, directory: string) {
    const { branch, commit, depth, repository } = source
    const from = yield* nearby(repository, commit)
    const format = (yield* Git.output(["rev-parse", "--show-object-format"], { cwd: from })).trim()
    const env = unconfigured
    yield* Git.output(["init", "--quiet", "--template=", `--object-format=${format}`, "--", directory], { env })
    const wanted =
      depth === undefined
        ? ["--", from, "+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*", commit]
        : ["--depth", String(depth), "--", from, `${commit}:refs/remotes/origin/${branch}`]
    yield* fetch(directory, wanted)
    if (isUrl(repository)) yield* Git.output(["remote", "add", "--", "origin", repository], { cwd: directory, env })
    yield* Git.output(["checkout", "--quiet", "--no-track", "-b", branch, commit, "--"], {
      cwd: directory,
      env,
      timeout
    })
  },
  Effect.mapError(failed("ERR_WORKSPACE_FAILED", "the checkout could not be made"))
)

/** Gives a copy of the checkout the commits that it lacks and the repository has; those that nobody has are still missing. */
export const supply = Effect.fnUntraced(
  function* (directory: string, repository: string, commits: ReadonlyArray<string>) {
    for (const commit of commits) {
      const there = yield* Git.run(["cat-file", "-e", `${commit}^{commit}`], { cwd: directory })
      if (there.code !== 0) yield* fetch(directory, ["--", yield* nearby(repository, commit), commit])
    }
  },
  Effect.ignore({ log: "Debug" })
)

const isUrl = (repository: string): boolean => Repository.fromLocation(repository)._tag === "url"

/** A repository on this host that has the commit. */
const nearby = (repository: string, commit: string) =>
  isUrl(repository) ? Mirror.ensure(repository, commit) : Effect.succeed(repository)

/** The other side gives also what no branch has any more. */
const uploadPack = "git -c uploadpack.allowAnySHA1InWant=true upload-pack"

const fetch = (directory: string, wanted: ReadonlyArray<string>) =>
  Git.output(
    [
      "fetch",
      "--quiet",
      "--no-tags",
      "--no-write-fetch-head",
      "--update-shallow",
      "--upload-pack",
      uploadPack,
      ...wanted
    ],
    { cwd: directory, timeout }
  )
