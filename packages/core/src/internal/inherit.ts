/** Files of the repository on this host that git does not carry, such as `.env`: brought into the checkout. */
import { Effect, FileSystem, Path } from "effect"
import type { Held } from "../Claim.ts"
import * as Dotenv from "../Dotenv.ts"
import * as Git from "../Git.ts"
import type { Backend } from "../Provisioners.ts"
import * as SandboxError from "../SandboxError.ts"
import type { InstanceRef } from "../Session.ts"
import type * as Setup from "../Setup.ts"
import type { Variables } from "./environment.ts"
import * as inBox from "./inBox.ts"

/** Puts every inherited file into the checkout and answers the variables in them, later files winning. */
export const files = Effect.fnUntraced(function* (held: Held, backend: Backend, ref: InstanceRef) {
  const row = yield* held.row
  let variables: Variables = {}
  for (const inherit of row.setup?.inheritEnv ?? []) {
    const source = yield* locate(row.repository, inherit.file)
    if (source === undefined) {
      yield* held.warn(`${inherit.file} is not in ${row.repository}, and was not inherited`)
      continue
    }
    const text =
      row.workspacePath === null
        ? yield* intoBox(backend, ref, { file: inherit.file, source })
        : yield* intoCheckout(held, row.workspacePath, { inherit, source })
    variables = { ...variables, ...Dotenv.parse(text) }
  }
  return variables
})

/** Refuses a setup that names files outside of the repository, before anything is done. */
export const check = Effect.fnUntraced(function* (setup: Setup.Setup, repository: string) {
  const path = yield* Path.Path
  if (!path.isAbsolute(repository)) return
  for (const { file } of setup.inheritEnv) yield* locate(repository, file)
})

/** The file's real path; none where it does not exist. Refuses what is not inside the repository. */
export const locate = Effect.fnUntraced(function* (repository: string, file: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const root = yield* fs.realPath(repository).pipe(Effect.orElseSucceed(() => repository))
  const wanted = path.resolve(root, file)
  if (!isInside(path, root, wanted)) return yield* outside(file)
  const real = yield* fs.realPath(wanted).pipe(Effect.orElseSucceed(() => undefined))
  if (real === undefined) return undefined
  return isInside(path, root, real) ? real : yield* outside(file)
})

const isInside = (path: Path.Path, root: string, target: string): boolean => {
  const relative = path.relative(root, target)
  return relative !== "" && relative !== ".." && !relative.startsWith(`..${path.sep}`) && !path.isAbsolute(relative)
}

const outside = (file: string) =>
  SandboxError.make("ERR_CONFIG_INVALID", {
    message: `inherit_env: ${file} is not inside the repository`,
    nextStep: "name a file of the repository itself; what links out of it is not inherited",
    details: { field: "inherit_env", file }
  })

const intoCheckout = Effect.fnUntraced(function* (
  held: Held,
  checkout: string,
  { inherit, source }: { readonly inherit: Setup.Setup["inheritEnv"][number]; readonly source: string }
) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const target = path.join(checkout, inherit.file)
  const place = Effect.gen(function* () {
    yield* fs.makeDirectory(path.dirname(target), { recursive: true })
    // what is there already is the user's: a copy that was changed, a tracked file, a link that was made before
    if (yield* exists(fs, target)) return
    if (inherit.mode === "symlink") yield* fs.symlink(source, target)
    else yield* fs.copyFile(source, target)
    yield* warnIfSeen(held, checkout, inherit.file)
  })
  return yield* Effect.andThen(place, fs.readFileString(target)).pipe(
    Effect.mapError((error) => notPlaced(inherit.file, error.message))
  )
})

/** Also of a link whose target is gone. */
const exists = (fs: FileSystem.FileSystem, target: string) =>
  Effect.orElseSucceed(Effect.as(fs.readLink(target), true), () => false).pipe(
    Effect.flatMap((isLink) => (isLink ? Effect.succeed(true) : fs.exists(target)))
  )

/** A file that git sees counts as a change, and keeps the session from being destroyed. */
const warnIfSeen = Effect.fnUntraced(function* (held: Held, checkout: string, file: string) {
  const ignored = yield* Git.run(["check-ignore", "--quiet", "--", file], { cwd: checkout })
  if (ignored.code === 1) {
    yield* held.warn(`${file} was inherited, and git does not ignore it: it counts as a change; add it to .gitignore`)
  }
})

const save = `
umask 077
target=$SANDBOX_WORKSPACE/$1
[ -e "$target" ] || { mkdir -p "$(dirname "$target")" && cat >"$target"; } || exit 1
cat "$target"
`

const intoBox = Effect.fnUntraced(function* (
  backend: Backend,
  ref: InstanceRef,
  { file, source }: { readonly file: string; readonly source: string }
) {
  const fs = yield* FileSystem.FileSystem
  const stdin = yield* fs.readFileString(source).pipe(Effect.mapError((error) => notPlaced(file, error.message)))
  return yield* inBox.mustRun(backend, ref, `inheriting ${file}`, { script: save, args: [file], stdin })
})

const notPlaced = (file: string, why: string) =>
  SandboxError.make("ERR_WORKSPACE_FAILED", {
    message: `${file} could not be inherited: ${why}`,
    nextStep: "make it readable, or leave it out of `inherit_env`",
    details: { field: "inherit_env", file }
  })
