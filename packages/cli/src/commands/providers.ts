import { Provisioners } from "@org/sandbox-core"
import { Spec } from "@org/sandbox-core/Session"
import { Effect } from "effect"
import { Command } from "effect/cli"
import * as Output from "../Output.ts"
import { builtin } from "../Providers.ts"
import * as Render from "../Render.ts"
import { load, onPlatform, root } from "../root.ts"

/** A registered provider, and whether a box could be made there now. */
interface ProviderRow {
  readonly name: string
  /** Null where the provider cannot even be loaded. */
  readonly isolation: "none" | "container" | "vm" | null
  readonly capabilities: ReadonlyArray<string>
  /** Whether what its boxes listen on are ports of this host. */
  readonly hostPorts: boolean
  /** Whether a halt destroys the box. */
  readonly haltIsTerminal: boolean
  /** Whether its boxes are somebody else's, adopted and let go of. */
  readonly external: boolean
  /** Where a box would be made; null where that cannot be told. */
  readonly scope: string | null
  readonly preflight: "ok" | "failed"
  /** Why not, where preflight failed. */
  readonly error: ReturnType<typeof Output.errorObject> | null
}

const rowOf = Effect.fnUntraced(function* (name: string) {
  const { get } = yield* Provisioners.Provisioners
  const absent: ProviderRow = {
    name,
    isolation: builtin[name]?.isolation ?? null,
    capabilities: [],
    hostPorts: false,
    haltIsTerminal: false,
    external: false,
    scope: null,
    preflight: "failed",
    error: null
  }
  return yield* get(name).pipe(
    Effect.flatMap((backend) => {
      const { capabilities, external, haltIsTerminal, hostPorts, isolation } = backend
      const row: ProviderRow = { ...absent, capabilities, external, haltIsTerminal, hostPorts, isolation }
      return Effect.match(backend.preflight(new Spec({})), {
        onFailure: (error): ProviderRow => ({ ...row, error: Output.errorObject(error) }),
        onSuccess: (scope): ProviderRow => ({ ...row, scope, preflight: "ok" })
      })
    }),
    Effect.catch((error) => Effect.succeed<ProviderRow>({ ...absent, error: Output.errorObject(error) }))
  )
})

const human = ({ providers }: { readonly providers: ReadonlyArray<ProviderRow> }): string => {
  const rows = providers.map(({ capabilities, isolation, name, preflight, scope }) => [
    name,
    isolation ?? "-",
    capabilities.length === 0 ? "-" : capabilities.join(", "),
    preflight,
    scope ?? "-"
  ])
  const problems = providers.flatMap(({ error, name }) =>
    error === null ? [] : [`${name}: ${String(error["cause"])}  (next: ${String(error["next_step"])})`]
  )
  const table = Render.table([["NAME", "ISOLATION", "CAPABILITIES", "PREFLIGHT", "SCOPE"], ...rows])
  return [table, ...(problems.length === 0 ? [] : ["", ...problems])].join("\n")
}

/** What both spellings of the command do. */
const show = Effect.gen(function* () {
  const { json } = yield* root
  const value = yield* onPlatform(
    Effect.gen(function* () {
      const { providers } = yield* load({})
      return yield* Effect.gen(function* () {
        const { names } = yield* Provisioners.Provisioners
        return { providers: yield* Effect.forEach(names, rowOf, { concurrency: 4 }), warnings: [] }
      }).pipe(Effect.provide(providers))
    })
  )
  yield* Output.result(value, { json, human })
})

const described = Command.withDescription(
  "The providers that are registered, built in or by a configuration: how far each keeps a box from its host, what it can do, and whether a box could be made there now."
)

export const providers = Command.make("providers", {}, () => show).pipe(
  described,
  Command.withShortDescription("What there is to run a session on")
)

export const list = Command.make("list", {}, () => show).pipe(
  described,
  Command.withShortDescription("The same as `sandbox providers`")
)
