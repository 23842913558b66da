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
  const { file } = inherit
  const place = Effect.gen(function* () {
    const root = yield* fs.realPath(checkout)
    const directory = yield* folder(root, path.dirname(path.join(root, file)))
    if (directory === undefined) return undefined
    const target = path.join(directory, path.basename(file))
    // what is there already is the user's: a copy that was changed, a tracked file, a link that was made before
    if (yield* exists(fs, target)) {
      const real = yield* fs.realPath(target)
      return real === source || isInside(path, root, real) ? target : undefined
    }
    if (inherit.mode === "symlink") yield* fs.symlink(source, target)
    else {
      // beside it first: half a copy would be taken for the user's
      yield* fs.copyFile(source, `${target}.sandbox-new`)
      yield* fs.rename(`${target}.sandbox-new`, target)
    }
    yield* warnIfSeen(held, checkout, file)
    return target
  })
  const placed = yield* Effect.mapError(
    Effect.flatMap(place, (target) => (target === undefined ? Effect.undefined : fs.readFileString(target))),
    (error) => notPlaced(file, error.message)
  )
  return placed ?? (yield* notPlaced(file, "the branch has a link there that leads out of the checkout"))
})

/** The real path of a directory of the checkout, made where it is not there; none where a link leads out. */
const folder = Effect.fnUntraced(function* (root: string, wanted: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const inside = (real: string) => real === root || isInside(path, root, real)
  let nearest = wanted
  while (nearest !== root && !(yield* exists(fs, nearest))) nearest = path.dirname(nearest)
  if (!inside(yield* fs.realPath(nearest))) return undefined
  yield* fs.makeDirectory(wanted, { recursive: true })
  const real = yield* fs.realPath(wanted)
  return inside(real) ? real : undefined
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

/** Goes down one directory at a time, so that a link out of the checkout is seen before anything is written behind it. */
const save = `
umask 077
cd -P "$SANDBOX_WORKSPACE" || exit 1
root=$(pwd -P)
rest=$1
while [ "$rest" != "\${rest#*/}" ]; do
  part=\${rest%%/*}
  rest=\${rest#*/}
  [ -d "$part" ] || mkdir "$part" || exit 1
  cd -P "$part" || exit 1
  case "$(pwd -P)/" in "$root"/*) ;; *) echo "a link there leads out of the checkout" >&2; exit 1 ;; esac
done
[ ! -L "$rest" ] || { echo "the branch has a link there" >&2; exit 1; }
[ -e "$rest" ] || { cat >"$rest.sandbox-new" && mv "$rest.sandbox-new" "$rest"; } || exit 1
cat "$rest"
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
