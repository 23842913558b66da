/** Bringing a session's setup up in a box that runs: environment, secrets, hooks, services. */
import { Effect, Redacted } from "effect"
import type { Held } from "../Claim.ts"
import type { Backend } from "../Provisioners.ts"
import * as SandboxError from "../SandboxError.ts"
import type { InstanceRef, Session } from "../Session.ts"
import * as Setup from "../Setup.ts"
import * as Slots from "../Slots.ts"
import * as compose from "./compose/start.ts"
import * as composeView from "./compose/view.ts"
import * as environment from "./environment.ts"
import * as hooks from "./hooks.ts"
import * as inherit from "./inherit.ts"
import * as placement from "./placement.ts"
import * as secrets from "./secrets.ts"
import * as services from "./services.ts"

/** What a session that is up can say of its setup. */
export interface Standing {
  readonly endpointUrl: string | null
  /** In the box; none for a session without a setup. */
  readonly envFile: string | null
}

/** Does all that is not done yet; the ports that were found are kept for their services until these start. */
export const bringUp = Effect.fnUntraced(function* (
  held: Held,
  backend: Backend,
  ref: InstanceRef,
  found: ReadonlyArray<secrets.Resolved>
) {
  const before = yield* held.row
  const { setup } = before
  if (setup === null) return { endpointUrl: null, envFile: null } satisfies Standing
  const inherited = setup.inheritEnv.length === 0 ? {} : yield* held.phase("inherit", inherit.files(held, backend, ref))
  const { ports: placed, release } = yield* placePorts(held, backend, ref)
  const kept = yield* environment.read(backend, yield* held.row)
  const hiding = yield* secrets.variables(setup, found, kept.secrets)
  const environmentOf = (row: Session): environment.Environment => ({
    variables: { ...inherited, ...setup.env, ...environment.generated(row) },
    secrets: hiding
  })
  const hidden = [...Object.values(hiding), ...found.map(({ value }) => Redacted.value(value))]
  const composed =
    setup.compose === undefined
      ? undefined
      : yield* held.phase(
          "compose-files",
          compose.prepare(
            { held, environment: environmentOf(yield* held.row), hidden, ports: placed, release },
            { backend, ref }
          )
        )
  const ports = composed?.ports ?? placed
  const row = yield* held.row
  const set = environmentOf(row)
  const envFile = yield* held.phase(
    "environment",
    Effect.andThen(secrets.deliver(backend, ref, found), environment.write(backend, ref, set))
  )
  if (composed !== undefined) yield* held.phase("compose", compose.up({ ...composed, environment: set }))
  yield* hooks.inBox(held, backend, { ref, name: "preSpawn", environment: set })
  yield* services.start({ held, backend, ref, environment: set, hidden, ports, release }, setup.services)
  yield* hooks.inBox(held, backend, { ref, name: "postUp", environment: set })
  const main = Setup.primary(setup)?.ports[0]
  const port = main === undefined ? undefined : Slots.numberOf(ports, main.name)
  const endpointUrl = port === undefined ? null : yield* addressOf(row, backend, { ref, port })
  return { endpointUrl, envFile } satisfies Standing
}, Effect.scoped)

/** Where the primary service is to be opened. */
const addressOf = (
  row: Session,
  backend: Backend,
  { port, ref }: { readonly ref: InstanceRef; readonly port: number }
) =>
  row.setup?.webBaseUrl === undefined
    ? backend.endpoint(ref, port)
    : Effect.succeed(Setup.webAddress(row.setup.webBaseUrl, { name: row.name, slot: row.slot, port }))

/** On a provider whose boxes have addresses of their own, a service listens where it says. */
const placePorts = Effect.fnUntraced(function* (held: Held, backend: Backend, ref: InstanceRef) {
  const setup = (yield* held.row).setup!
  const declared = Setup.ports(setup)
  if (declared.length === 0) return { ports: {}, release: () => Effect.void }
  if (backend.hostPorts) {
    const mine = yield* services.ofBox(ref.key)
    const running = yield* services.running(backend, ref, setup)
    const composed = yield* composeView.published(yield* held.row)
    const keeps = new Set([...running.flatMap(({ ports }) => ports.map(({ name }) => name)), ...composed.keys()])
    return yield* held.phase("ports", placement.place(held, { setup, mine, keeps }))
  }
  const ports = Object.fromEntries(
    declared.map(({ base, name }) => [name, Slots.numberOf(setup.fixedPorts, name) ?? base])
  )
  yield* held.commit({ set: { ports } })
  return { ports, release: () => Effect.void }
})

/** The slot that a session of this setup needs; none where it listens on no port of a host. */
export const slot = (backend: Backend, setup: Setup.Setup | null, scope: string) =>
  setup !== null && backend.hostPorts && Setup.ports(setup).length > 0 ? { scope, max: setup.slots.max } : undefined

/** Whether the provider can do what the setup asks for. */
export const check = Effect.fnUntraced(function* (backend: Backend, setup: Setup.Setup) {
  const needs = [
    { capability: "exec" as const, when: !Setup.isEmpty(setup) },
    { capability: "endpoint" as const, when: Setup.ports(setup).length > 0 }
  ]
  for (const { capability, when } of needs) {
    if (!when || backend.capabilities.includes(capability)) continue
    return yield* SandboxError.make("ERR_UNSUPPORTED", {
      message: `provider ${backend.name} has no ${capability}, which services, hooks and environments need`,
      nextStep: "use a provider that has it, or leave them out",
      details: { provider: backend.name, capability }
    })
  }
  yield* compose.check(setup, backend)
})
