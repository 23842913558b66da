import { Ports, Repository, SandboxError } from "@org/sandbox-core"
import type * as Configuration from "@org/sandbox-core/Configuration"
import { Effect, FileSystem, Option, Path } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import type { Loaded } from "../config/Loaded.ts"
import * as Output from "../Output.ts"
import { builtin } from "../Providers.ts"
import * as Render from "../Render.ts"
import { load, onPlatform, root } from "../root.ts"

export const validate = Command.make(
  "validate",
  {
    repository: Argument.String("repository").pipe(
      Argument.withDescription("A path of a git repository, or its URL; the one here, when absent"),
      Argument.optional
    ),
    provider: Flag.String("provider").pipe(
      Flag.withAlias("p"),
      Flag.withDescription("As if this provider were chosen"),
      Flag.optional
    ),
    profile: Flag.String("profile").pipe(Flag.withDescription("As if this profile were chosen"), Flag.optional),
    ports: Flag.Boolean("ports").pipe(
      Flag.withDescription("Show the ports of every slot, and who listens there now"),
      Flag.withDefault(false)
    )
  },
  ({ ports, profile, provider, repository }) =>
    Effect.gen(function* () {
      const { json, quiet } = yield* root
      const flags = [
        [["provider"], "--provider", Option.getOrUndefined(provider)],
        [["sandbox", "profile"], "--profile", Option.getOrUndefined(profile)]
      ] as const
      const checked = load({ repository: Option.getOrUndefined(repository), remote: { quiet, required: true }, flags })
      const report = yield* onPlatform(
        Effect.flatMap(json ? checked : Effect.catch(checked, told), (loaded) => reported(loaded, ports))
      )
      const { human, ...value } = report
      // the keys are the file's own, and stay as they are written there
      if (json) return yield* Output.write(process.stdout, `${JSON.stringify({ ok: true, ...value })}\n`)
      for (const warning of value.warnings) yield* Output.note(`warning: ${warning}`)
      yield* Output.write(process.stdout, `${human}\n`)
    })
).pipe(
  Command.withDescription(
    "Check the configuration that holds for a repository: the user's file, its sandbox.yaml, variables and flags. Nothing is started or changed, and no ledger is opened. With --json it answers every value and where it comes from."
  ),
  Command.withShortDescription("Check the configuration"),
  Command.withExamples([
    { command: "sandbox validate", description: "Check the repository here" },
    { command: "sandbox validate --json", description: "Every value that holds, with the file and line it comes from" }
  ])
)

/** One problem a line, and an error that only counts them. */
const told = Effect.fnUntraced(function* (error: SandboxError.SandboxError) {
  const problems = error.details?.["problems"]
  if (!Array.isArray(problems) || problems.length === 1) return yield* error
  const { describe } = yield* Effect.promise(() => import("@org/sandbox-core/Configuration"))
  for (const problem of problems as ReadonlyArray<Configuration.Problem>) yield* Output.note(describe(problem))
  return yield* SandboxError.extend(error, { message: `the configuration has ${problems.length} problems` })
})

/** What `up` would refuse of the command line: a repository that is none, a provider that nobody has registered. */
const checkChosen = Effect.fnUntraced(function* ({ effective, repository }: Loaded) {
  const path = yield* Path.Path
  const fs = yield* FileSystem.FileSystem
  const invalid = (
    message: string,
    nextStep: string,
    details: { readonly field: string; readonly registered?: ReadonlyArray<string> }
  ) => SandboxError.make("ERR_INVALID_ARGUMENT", { message, nextStep, details })
  const here = Option.getOrUndefined(Option.liftThrowable(path.resolve)("."))
  if (here === undefined) {
    const field = "repository"
    return yield* invalid("the current directory is there no more", "change into one that exists", { field })
  }
  const source = yield* Repository.parse(repository, here)
  const isDirectory = Effect.map(fs.stat(source.location), ({ type }) => type === "Directory")
  if (source._tag === "path" && !(yield* Effect.orElseSucceed(isDirectory, () => false))) {
    const field = "repository"
    return yield* invalid(`${source.location} is no directory on this host`, "name a repository that is", { field })
  }
  const { provider, providers } = effective.configuration
  const registered = [...new Set([...Object.keys(builtin), ...Object.keys(providers)])]
  if (provider === undefined || registered.includes(provider)) return
  const way = `choose one with --provider or SANDBOX_PROVIDER: ${registered.join(", ")}`
  return yield* invalid(`there is no provider ${provider}`, way, { field: "provider", registered })
})

const reported = Effect.fnUntraced(function* (loaded: Loaded, withPorts: boolean) {
  yield* checkChosen(loaded)
  const { provenance, shown } = yield* Effect.promise(() => import("@org/sandbox-core/Configuration"))
  const Trust = yield* Effect.promise(() => import("@org/sandbox-core/Trust"))
  const { claimed, effective, warnings } = loaded
  const { configuration } = effective
  const files = effective.layers.flatMap(({ file, name }) => (file === undefined ? [] : [{ layer: name, file }]))
  const runs = claimed === undefined ? [] : Trust.runs(effective, { builtin, provider: configuration.provider })
  const trusted = claimed === undefined || runs.length === 0 || (yield* Trust.isAccepted(claimed))
  const slots = withPorts ? yield* slotsOf(configuration) : undefined
  return {
    valid: true,
    files,
    trusted,
    /** What of the project's file needs to be accepted. */
    runs,
    configuration: shown(effective),
    provenance: provenance(effective),
    ...(slots === undefined ? {} : { slots }),
    warnings,
    human: [
      `valid  ${files.map(({ file }) => file).join(", ") || "(no file: defaults)"}`,
      ...(trusted ? [] : [`not accepted for this host: ${runs.join(", ")}  (sandbox trust)`]),
      ...(slots === undefined ? [] : ["", table(slots)])
    ].join("\n")
  }
})

interface SlotPort {
  readonly port: number
  readonly listener: { readonly pid: number | null; readonly command: string | null } | null
}

interface Slot {
  readonly slot: number
  readonly ports: Readonly<Record<string, SlotPort>>
}

/** The nominal ports of every slot, and who has them now. */
const slotsOf = Effect.fnUntraced(function* (configuration: Configuration.Configuration) {
  const { declared, nominal } = yield* Effect.promise(() => import("@org/sandbox-core/Configuration"))
  const { listener } = yield* Ports.Ports
  const { max, stride } = configuration.slots
  const ports = declared(configuration)
  return yield* Effect.forEach(
    ports.length === 0 ? [] : Array.from({ length: max }, (_, index) => index + 1),
    Effect.fnUntraced(function* (slot) {
      const entries = yield* Effect.forEach(
        ports,
        Effect.fnUntraced(function* (declaredPort) {
          const port = nominal(declaredPort, slot, stride)
          const found = yield* listener(port)
          const owner = found === undefined ? null : { pid: found.pid, command: found.command }
          return [declaredPort.name, { port, listener: owner }] as const
        })
      )
      const one: Slot = { slot, ports: Object.fromEntries(entries) }
      return one
    })
  )
})

const table = (slots: ReadonlyArray<Slot>): string => {
  const [first] = slots
  if (first === undefined) return "No service has a port."
  const cell = ({ listener, port }: SlotPort): string =>
    listener === null
      ? String(port)
      : `${port} (${listener.command ?? "in use"}${listener.pid === null ? "" : `, pid ${listener.pid}`})`
  return Render.table([
    ["SLOT", ...Object.keys(first.ports)],
    ...slots.map(({ ports, slot }) => [String(slot), ...Object.values(ports).map(cell)])
  ])
}
