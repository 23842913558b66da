/** Which paths of this host a service may be shown: those of the checkout, wherever links lead. */
import { Effect, FileSystem, Option, Path } from "effect"
import { type Mount, meant, type Remark } from "./document.ts"
import * as tool from "./tool.ts"

export interface Showing {
  readonly session: string
  /** On this host. */
  readonly checkout: string
  /** Beside a box that keeps what runs in it from this host, nothing else of this host is shown. */
  readonly isolated: boolean
}

/** What is to be said of each path that is not the checkout's own. */
export const judge = Effect.fnUntraced(function* (showing: Showing, mounts: ReadonlyArray<Mount>) {
  const path = yield* Path.Path
  const { checkout, isolated, session } = showing
  const guarded = yield* Effect.cached(sockets(session))
  const problems: Array<Remark> = []
  const warnings: Array<Remark> = []
  for (const { field, path: written, readOnly } of mounts) {
    const plain = meant(written)
    if (plain === undefined) {
      // compose 1 writes a dollar sign so that it is taken for a variable when it is read again
      problems.push({ field, message: `has ${written}, with a dollar sign that would begin a variable` })
      continue
    }
    const target = path.resolve(checkout, plain)
    if (yield* isOfCheckout(checkout, target)) continue
    const why = isolated
      ? "which is not in the box's checkout: beside a box a service sees nothing else of this host"
      : yield* refusal(target, readOnly, yield* guarded)
    if (why === undefined) warnings.push({ field, message: `shows ${target} of this host, which every session sees` })
    else problems.push({ field, message: `has ${target}, ${why}` })
  }
  return { problems, warnings }
})

/** Why something that is not in the checkout must not be shown. */
const refusal = Effect.fnUntraced(function* (target: string, readOnly: boolean, guarded: ReadonlyArray<string>) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const real = Option.getOrUndefined(yield* Effect.option(fs.realPath(target)))
  const elsewhere = "mount a directory of the repository, a named volume, or read-only"
  if (real === undefined || !readOnly) return `which is not in the repository: ${elsewhere}`
  const holds = [target, real].some((one) => guarded.some((socket) => isInside(path, one, socket)))
  if (holds || isInside(path, "/proc", real)) return "with which it would have the engine, and with that this host"
  const kind = yield* Effect.option(Effect.map(fs.stat(real), ({ type }) => type))
  if (Option.contains(kind, "Socket")) return "which is a socket of this host"
  return undefined
})

const usual = [
  "/var/run/docker.sock",
  "/var/run/podman/podman.sock",
  "/var/run/containerd/containerd.sock",
  "/var/run/crio/crio.sock"
]

/** Where engines listen, by every name. One that the docker command does not name is where engines usually are. */
const sockets = Effect.fnUntraced(function* (session: string) {
  const fs = yield* FileSystem.FileSystem
  const asked = tool.docker(["context", "inspect", "--format", "{{.Endpoints.docker.Host}}"], { session })
  const named = /^unix:\/\/(\/.+)$/m.exec(
    yield* Effect.orElseSucceed(
      Effect.map(asked, ({ stdout }) => stdout),
      () => ""
    )
  )
  const all = [...usual, ...(named?.[1] === undefined ? [] : [named[1]])]
  const real = yield* Effect.forEach(all, (one) => Effect.orElseSucceed(fs.realPath(one), () => one))
  // a host that has no engine of one kind may still have the directory where it would listen
  const run = yield* Effect.orElseSucceed(fs.realPath("/var/run"), () => "/var/run")
  return [...all, ...real, ...usual.map((one) => one.replace("/var/run", run))]
})

export const isInside = (path: Path.Path, root: string, target: string): boolean =>
  target === root || target.startsWith(root.endsWith(path.sep) ? root : `${root}${path.sep}`)

/** Whether a path is in the checkout, wherever links lead; one that is not there by where it would be. */
export const isOfCheckout = Effect.fnUntraced(function* (checkout: string, target: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const root = yield* Effect.orElseSucceed(fs.realPath(checkout), () => checkout)
  let nearest = path.resolve(root, path.relative(checkout, target))
  if (!isInside(path, root, nearest)) return false
  while (nearest !== root) {
    const real = yield* Effect.option(fs.realPath(nearest))
    if (Option.isSome(real)) return isInside(path, root, real.value)
    // a link that leads nowhere may lead somewhere soon
    if (Option.isSome(yield* Effect.option(fs.readLink(nearest)))) return false
    nearest = path.dirname(nearest)
  }
  return true
})
