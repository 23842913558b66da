/** The compose files that a project's configuration names: accepted with it, and read beside it. */
import type * as Configuration from "@org/sandbox-core/Configuration"
import { Effect } from "effect"
import * as files from "./files.ts"

/** Their digest together; none where the project's file names none. */
export const digest = Effect.fnUntraced(function* (effective: Configuration.Effective, own: files.FileLayer) {
  const { compose } = effective.configuration
  if (compose === undefined || effective.layerOf(["compose", "file"])?.name !== "project") return undefined
  const names = typeof compose.file === "string" ? [compose.file] : compose.file
  const { digestOf } = yield* Effect.promise(() => import("@org/sandbox-core/Trust"))
  return yield* digestOf(
    yield* Effect.forEach(names, (name) => Effect.map(files.digestBeside(own, name), (one) => [name, one] as const))
  )
})

/** What is accepted: the project's file, and with it what it names. */
export const together = Effect.fnUntraced(function* (own: string, composed: string | undefined) {
  if (composed === undefined) return own
  const { digestOf } = yield* Effect.promise(() => import("@org/sandbox-core/Trust"))
  return yield* digestOf([
    ["sandbox.yaml", own],
    ["compose", composed]
  ])
})
