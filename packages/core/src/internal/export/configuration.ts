/** What a checkout's own configuration may do while its work is read. */
import { Effect, FileSystem } from "effect"
import * as Git from "../../Git.ts"

/** Keys of git's configuration for one command, by the environment. */
export const configured = (values: Readonly<Record<string, string>>): Readonly<Record<string, string>> =>
  Object.fromEntries([
    ["GIT_CONFIG_COUNT", String(Object.keys(values).length)],
    ...Object.entries(values).flatMap(([key, value], at) => [
      [`GIT_CONFIG_KEY_${at}`, key],
      [`GIT_CONFIG_VALUE_${at}`, value]
    ])
  ])

/** Files outside of a sparse checkout's part are work like any other. */
const pins = {
  "core.fsmonitor": "false",
  "core.hooksPath": "/dev/null",
  "core.safecrlf": "false",
  "core.sparseCheckout": "false",
  "index.sparse": "false"
}

/**
 * The environment in which no program of the checkout's own choosing runs on this host.
 *
 * A filter that only the session can have configured is taken away and stays required: what it would change cannot be read
 * then, and git says so. Those of the user, also of the user's repository that the checkout is a worktree of, run.
 */
export const disarmed = Effect.fnUntraced(function* (options: {
  readonly directory: string
  /** The session's. */
  readonly repository: string
  readonly env: Readonly<Record<string, string>>
}) {
  const { directory, env, repository } = options
  const theirs = (yield* isShared(directory, repository)) ? ["worktree"] : ["worktree", "local"]
  const listed = yield* Git.run(["config", "--show-scope", "--null", "--name-only", "--get-regexp", "^filter\\."], {
    cwd: directory,
    env
  })
  const words = listed.stdout.split("\0")
  const drivers = words.flatMap((scope, at) => {
    const key = words[at + 1]
    return at % 2 === 0 && key !== undefined && theirs.includes(scope) ? [key.slice(0, key.lastIndexOf("."))] : []
  })
  const none = Object.fromEntries(
    drivers.flatMap((driver) => [
      [`${driver}.clean`, ""],
      [`${driver}.process`, ""],
      [`${driver}.required`, "true"]
    ])
  )
  return {
    ...env,
    // an object that is not there is not fetched by what the checkout says a remote is
    GIT_ALLOW_PROTOCOL: "none",
    GIT_NO_LAZY_FETCH: "1",
    GIT_NO_REPLACE_OBJECTS: "1",
    GIT_LITERAL_PATHSPECS: "0",
    ...configured({ ...pins, ...none })
  }
})

/** Whether the checkout is a worktree of the repository, whose configuration is the user's. */
const isShared = Effect.fnUntraced(
  function* (directory: string, repository: string) {
    if (!repository.startsWith("/")) return false
    const fs = yield* FileSystem.FileSystem
    const common = (cwd: string) =>
      Effect.flatMap(Git.output(["rev-parse", "--path-format=absolute", "--git-common-dir"], { cwd }), (path) =>
        fs.realPath(path.replace(/\n$/, ""))
      )
    return (yield* common(directory)) === (yield* common(repository))
  },
  Effect.orElseSucceed(() => false)
)
