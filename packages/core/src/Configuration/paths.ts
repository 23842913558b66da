/** What only the repository on this host can say about the paths of a configuration: where links lead. */
import { Effect, FileSystem, Path as Paths } from "effect"
import type { Flaw } from "./decode.ts"
import type { Configuration } from "./File.ts"
import type { Path } from "./keys.ts"
import { composeFiles, leaves } from "./rules.ts"

/** Files and directories of the configuration that are reached through a link out of the repository. */
export const checkPaths = Effect.fnUntraced(function* (
  { compose, inherit_env, services }: Pick<Configuration, "compose" | "inherit_env" | "services">,
  repository: string
) {
  const fs = yield* FileSystem.FileSystem
  const paths = yield* Paths.Path
  const real = (path: string) => Effect.orElseSucceed(fs.realPath(path), () => undefined)
  const top = yield* real(repository)
  if (top === undefined) return []
  const entries: ReadonlyArray<readonly [Path, string, string]> = [
    ...composeFiles(compose).map(({ file, path }) => [path, file, "repository"] as const),
    ...inherit_env.map((entry, index) =>
      typeof entry === "string"
        ? ([["inherit_env", index], entry, "repository"] as const)
        : ([["inherit_env", index, "file"], entry.file, "repository"] as const)
    ),
    ...services.flatMap(({ cwd }, index) =>
      cwd === undefined ? [] : [[["services", index, "cwd"], cwd, "checkout"] as const]
    ),
    ...services.flatMap(({ completes }, index) =>
      completes === undefined ? [] : [[["services", index, "completes"], completes, "checkout"] as const]
    )
  ]
  const flaws: Array<Flaw> = []
  for (const [path, file, what] of entries) {
    if (leaves(file)) continue // said already
    const target: string | undefined = yield* real(paths.join(top, file))
    if (target === undefined || target === top || target.startsWith(top === "/" ? top : `${top}/`)) continue
    flaws.push({ path, message: `leads out of the ${what}, through a link` })
  }
  return flaws
})
