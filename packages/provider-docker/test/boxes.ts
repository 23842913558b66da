/** Boxes of the engine of this machine, for tests; what they leave is removed with the scope. */
import { execFileSync } from "node:child_process"
import { randomUUID } from "node:crypto"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import {
  type ExecRequest,
  labelNames,
  type PortRequest,
  Provisioner,
  type ProvisionIntent
} from "@org/sandbox-core/Provisioner"
import { type InstanceRef, instanceName, intentKey, Spec } from "@org/sandbox-core/Session"
import type { Options } from "@org/sandbox-provider-docker/Options"
import { Clock, Effect, Stream } from "effect"
import * as Docker from "../../../test/support/docker.ts"
import { layer } from "./engine.ts"

setFlagsFromString("--expose-gc")
const collectGarbage: () => void = runInNewContext("gc")

/** The bytes of all buffers that somebody still refers to. */
export const heldBuffers = () => {
  collectGarbage()
  return process.memoryUsage().arrayBuffers
}

/** A ledger of this test's own. */
export interface Ledger {
  readonly id: string
  readonly label: string
  readonly intent: (more?: {
    readonly spec?: Partial<Spec>
    readonly ports?: ReadonlyArray<PortRequest>
    readonly key?: string
  }) => ProvisionIntent
  /** The names of whatever carries its label. */
  readonly made: ReturnType<typeof Docker.labelled>
}

/** A new one; whatever carries its label is removed with the scope. */
export const newLedger = Effect.gen(function* () {
  const id = `ldg_${randomUUID().replaceAll("-", "")}`
  const label = `${labelNames.ledger}=${id}`
  yield* Effect.addFinalizer(() => Docker.removeLabelled(label))
  const now = yield* Clock.currentTimeMillis
  const intent: Ledger["intent"] = ({ key = intentKey(`sbx_${randomUUID().slice(0, 18)}`, 1), ports, spec } = {}) => ({
    key,
    scope: "here",
    name: instanceName(key),
    labels: {
      [labelNames.ledger]: id,
      [labelNames.owner]: "ann@example.org",
      [labelNames.session]: key.replace(/\.g\d+$/, ""),
      [labelNames.generation]: "1",
      [labelNames.key]: key
    },
    spec: new Spec({ image: Docker.images.base, ...spec }),
    ports,
    deadline: now + 600_000
  })
  const ledger: Ledger = { id, label, intent, made: Docker.labelled(label) }
  return ledger
})

/** The provider, with the members that are optional in the port and that this one has. */
export const docker = Effect.map(Provisioner, (all) => {
  const { endpoint, exec, files, start } = all
  if (endpoint === undefined || exec === undefined || files === undefined || start === undefined) {
    throw new Error("a capability is missing")
  }
  return { ...all, endpoint, exec, files, start }
})

/** Runs a command in a box to its end. */
export const run = Effect.fnUntraced(function* (
  ref: InstanceRef,
  argv: ReadonlyArray<string>,
  more: Omit<ExecRequest, "argv"> = {}
) {
  const handle = yield* (yield* docker).exec(ref, { argv, ...more })
  const text = { 1: "", 2: "" }
  yield* Stream.runForEach(handle.output, ({ bytes, fd }) =>
    Effect.sync(() => {
      text[fd] += Buffer.from(bytes).toString()
    })
  )
  return { ...(yield* handle.exit), out: text[1], err: text[2] }
}, Effect.scoped)

/** Runs a script of a shell in a box, and answers what it wrote. */
export const sh = (ref: InstanceRef, script: string, more: Omit<ExecRequest, "argv"> = {}) =>
  Effect.map(run(ref, ["sh", "-c", script], more), ({ err, out }) => `${out}${err}`.trimEnd())

/** The container of a box, as the engine tells of it. */
export const containerOf = Effect.fnUntraced(function* (key: string) {
  const [listed] = yield* Docker.containers(`${labelNames.key}=${key}`)
  return listed === undefined ? undefined : yield* Docker.inspect("containers", listed.Id)
})

/** An archive of files, as tar makes it. */
export const archive = (files: Readonly<Record<string, string>>): Stream.Stream<Uint8Array> => {
  const directory = mkdtempSync(join(tmpdir(), "boxes-"))
  for (const [name, content] of Object.entries(files)) writeFileSync(join(directory, name), content)
  const bytes = execFileSync("tar", ["--create", "--directory", directory, "."], { maxBuffer: 2 ** 30 })
  rmSync(directory, { recursive: true })
  return Stream.make(Uint8Array.from(bytes))
}

/** Runs with a provider of its own. */
export const on =
  (options: Options = {}) =>
  <A, E, R>(use: Effect.Effect<A, E, R>) =>
    Effect.scoped(Effect.provide(use, layer({ pull: "never", ...options })))
