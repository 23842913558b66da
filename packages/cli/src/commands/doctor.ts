import { doctorWithout, doctor as program, Registration, type Results, type SandboxError } from "@org/sandbox-core"
import { Directories } from "@org/sandbox-core/Host"
import * as Node from "@org/sandbox-core/node"
import { Effect, FileSystem, Layer, Option, Path, Result } from "effect"
import { Command, Flag } from "effect/cli"
import * as Output from "../Output.ts"
import { builtin } from "../Providers.ts"
import * as RenderDoctor from "../RenderDoctor.ts"
import { load, onPlatform, root } from "../root.ts"

export const doctor = Command.make(
  "doctor",
  {
    deep: Flag.Boolean("deep").pipe(
      Flag.withDescription("Read every checkpoint whole and compare it with its digests"),
      Flag.withDefault(false)
    )
  },
  ({ deep }) =>
    Effect.gen(function* () {
      const { json } = yield* root
      const report = yield* onPlatform(examined(deep))
      yield* Output.result(report, { json, human: RenderDoctor.doctor })
      if (!report.healthy) return yield* new Output.Quit({ code: 4 })
    })
).pipe(
  Command.withDescription(
    "Say what is wrong and what to do about it: git, the ledger, checkpoints, providers, sessions, and what `sandbox gc` would do. Changes nothing, and works where the ledger does not. Exits 4 when there is a problem."
  ),
  Command.withShortDescription("Say what is wrong, and what would help")
)

/** Everything that can be looked at: what keeps one thing from being opened is said of it, and the rest is looked at all the same. */
const examined = Effect.fnUntraced(function* (deep: boolean) {
  const globals = yield* root
  const loaded = yield* Effect.result(load({}))
  const providers = Result.isSuccess(loaded) ? loaded.success.providers : Registration.layerAll(builtin)
  const settings = Result.isSuccess(loaded) ? loaded.success.settings : Layer.empty
  const given = { ledger: Option.getOrUndefined(globals.ledger), principal: Option.getOrUndefined(globals.principal) }
  const file = yield* ledgerFile(given.ledger)
  const without = (why: SandboxError.SandboxError | null) =>
    Effect.provide(doctorWithout(file ?? "the ledger", why), Layer.merge(providers, Node.layerCheckpoints))
  const whole = Effect.provide(
    program({ deep }),
    Layer.merge(Layer.provideMerge(providers, Node.layer(given)), settings)
  )
  const missing = file !== undefined && !(yield* isThere(file))
  const result = yield* missing ? without(null) : Effect.catch(whole, without)
  return withConfiguration(result, loaded)
})

/** Where the ledger is, when that is a file: opening it would make it. */
const ledgerFile = Effect.fnUntraced(function* (given: string | undefined) {
  const path = yield* Path.Path
  const { state } = yield* Directories
  const place = given ?? (process.env["SANDBOX_LEDGER"] || path.join(state, "ledger.db"))
  return /^postgres(ql)?:\/\//.test(place) ? undefined : path.resolve(place)
})

/** A place that cannot be looked at is told of by whoever opens it. */
const isThere = Effect.fnUntraced(function* (file: string) {
  return yield* Effect.orElseSucceed((yield* FileSystem.FileSystem).exists(file), () => true)
})

type Loaded = Effect.Success<ReturnType<typeof load>>

const withConfiguration = (
  result: Results.DoctorResult,
  loaded: Result.Result<Loaded, SandboxError.SandboxError>
): Results.DoctorResult => {
  const about = "configuration"
  if (Result.isFailure(loaded)) {
    const { message, nextStep } = loaded.failure
    const broken = { about, status: "problem", finding: message, nextStep } as const
    return { ...result, healthy: false, diagnoses: [broken, ...result.diagnoses] }
  }
  const files = loaded.success.effective.layers.flatMap(({ file }) => (file === undefined ? [] : [file]))
  const doubts = loaded.success.warnings.map((finding) => {
    return { about, status: "warning", finding, nextStep: "see what holds with `sandbox validate`" } as const
  })
  const fine = { about, status: "ok", finding: files.join(", ") || "no file: defaults", nextStep: null } as const
  return { ...result, diagnoses: [...(doubts.length === 0 ? [fine] : doubts), ...result.diagnoses] }
}
