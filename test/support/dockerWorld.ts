/** A world whose sessions run on this machine's engine; whatever its ledger has there goes with it. */
import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { labelNames } from "@org/sandbox-core/Provisioner"
import { Effect } from "effect"
import { images, labelled, removeLabelled } from "./docker.ts"
import { query, type World, world } from "./sandbox.ts"
import { everything } from "./work.ts"

const label = (w: World): string | undefined => {
  if (!existsSync(w.ledger)) return undefined
  const [row] = query<{ readonly value: string }>(w.ledger, "SELECT value FROM meta WHERE name = 'ledger_id'")
  return row === undefined ? undefined : `${labelNames.ledger}=${row.value}`
}

/** `options` are the provider's own, as in a configuration. */
export const dockerWorld = Effect.fnUntraced(function* (options: object = {}) {
  const w = yield* world
  const directory = join(w.directory, "home/.config/sandbox")
  mkdirSync(directory, { recursive: true })
  writeFileSync(
    join(directory, "config.yaml"),
    JSON.stringify({
      provider: "docker",
      providers: { docker: { options: { image: images.base, pull: "never", ...options } } }
    })
  )
  yield* Effect.addFinalizer(() =>
    Effect.suspend(() => {
      const own = label(w)
      return own === undefined ? Effect.void : removeLabelled(own)
    })
  )
  return w
})

/** What the engine has of the world's ledger. */
export const onEngine = (w: World) => Effect.suspend(() => labelled(label(w)!))

/** What a session's checkout holds, as a copy in a directory of this host shows it. */
export const held = Effect.fnUntraced(function* (w: World, session: string) {
  const copy = join(w.directory, "held")
  rmSync(copy, { recursive: true, force: true })
  mkdirSync(copy)
  const { code, stderr } = yield* w.sandbox("cp", `${session}:.`, copy)
  if (code !== 0) return yield* Effect.die(new Error(stderr))
  return everything(copy)
})

/** Replaces what a session's checkout holds by what is made of a copy on this host. */
export const change = Effect.fnUntraced(function* (w: World, session: string, edit: (directory: string) => void) {
  yield* held(w, session)
  const copy = join(w.directory, "held")
  edit(copy)
  const emptied = yield* w.sandbox("exec", session, "--", "sh", "-c", "rm -rf -- * .[!.]*")
  if (emptied.code !== 0) return yield* Effect.die(new Error(emptied.stderr))
  const { code, stderr } = yield* w.sandbox("cp", `${copy}/.`, `${session}:.`)
  if (code !== 0) return yield* Effect.die(new Error(stderr))
})
