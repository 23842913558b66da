import { Git, type Provisioner, SandboxError } from "@org/sandbox-core"
import { Effect, FileSystem, Layer, Option, Path, Predicate } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { DurationText } from "../Duration.ts"
import { moduleOf } from "../moduleOf.ts"
import * as Output from "../Output.ts"
import { builtin } from "../Providers.ts"
import * as Render from "../Render.ts"
import { onPlatform, root } from "../root.ts"
import { list } from "./providers.ts"

// a chunk of its own: no other command needs the laws
const laws = Effect.promise(() => import("@org/sandbox-conformance/Conformance"))
const kit = Effect.promise(() => import("@org/sandbox-conformance/Law"))

type Report = Effect.Success<ReturnType<Effect.Success<typeof laws>["run"]>>
type Verdict = Report["laws"][number]

const conform = Command.make(
  "conform",
  {
    module: Argument.String("module").pipe(
      Argument.withDescription(
        "A file or a package whose default export defineProvider made, as seen from here, or the name of a built-in provider"
      )
    ),
    options: Flag.String("options").pipe(
      Flag.withDescription("The provider's own options: a JSON or YAML file"),
      Flag.withMetavar("file"),
      Flag.optional
    ),
    only: Flag.String("only").pipe(
      Flag.withDescription("Run the laws of this group alone; may be repeated, or joined by commas"),
      Flag.withMetavar("group"),
      Flag.atLeast(0)
    ),
    patience: Flag.String("patience").pipe(
      Flag.withDescription("How long the platform may take to show what it was told: 30s when absent"),
      Flag.withMetavar("duration"),
      Flag.withSchema(DurationText),
      Flag.optional
    )
  },
  ({ module, only, options, patience }) =>
    Effect.gen(function* () {
      const { json, quiet } = yield* root
      const report = yield* onPlatform(
        Effect.gen(function* () {
          const groups = yield* groupsOf(only)
          const provider = yield* load(module, Option.getOrUndefined(options))
          const { run } = yield* laws
          const { LawContext } = yield* kit
          const context = LawContext.layer({
            patience: Option.getOrUndefined(patience),
            workspaceSource: yield* repository
          })
          const onVerdict = (verdict: Verdict, done: number, total: number) =>
            quiet ? Effect.void : Output.note(progress(verdict, done, total))
          return yield* Effect.provide(run({ only: groups, onVerdict }), Layer.merge(provider, context))
        }).pipe(Effect.scoped)
      )
      yield* Output.result({ ...report, warnings: [] }, { json, human })
      if (!report.conforms) return yield* new Output.Quit({ code: 2 })
    })
).pipe(
  Command.withDescription(
    "Prove a provider: runs every law of the provider port on it, which makes real boxes and removes them again, and names those that it breaks. Exits 2 when it breaks one, or when there was none that could be checked."
  ),
  Command.withShortDescription("Run the laws of the provider port on a provider"),
  Command.withExamples([
    { command: "sandbox provider conform ./provider.ts --options options.yaml", description: "A provider in a file" },
    { command: "sandbox provider conform local --only lifecycle,truth", description: "Some laws, on a built-in one" }
  ])
)

const invalid = (field: string, message: string, nextStep: string) =>
  SandboxError.make("ERR_INVALID_ARGUMENT", { message, nextStep, details: { field } })

const groupsOf = Effect.fnUntraced(function* (only: ReadonlyArray<string>) {
  const { groups } = yield* kit
  const asked = only.flatMap((names) => names.split(",")).map((name) => name.trim())
  if (asked.length === 0) return undefined
  const unknown = asked.find((name) => !groups.some((group) => group === name))
  if (unknown === undefined) return groups.filter((group) => asked.includes(group))
  return yield* invalid("only", `there is no group of laws ${JSON.stringify(unknown)}`, `use ${groups.join(", ")}`)
})

const isProviderModule = (value: unknown): value is Provisioner.ProviderModule =>
  Predicate.hasProperty(value, "apiVersion") &&
  value.apiVersion === 1 &&
  Predicate.hasProperty(value, "decode") &&
  Predicate.hasProperty(value, "layer") &&
  typeof value.layer === "function"

/** The provider's layer. Nothing is asked of the platform before the module and its options are known to be good. */
const load = Effect.fnUntraced(function* (name: string, optionsFile: string | undefined) {
  const path = yield* Path.Path
  const known = Object.hasOwn(builtin, name) ? builtin[name] : undefined
  const loaded = yield* Effect.tryPromise({
    try: () => (known === undefined ? moduleOf(path, name, path.resolve(".")) : known.use()),
    catch: (cause) =>
      invalid(
        "module",
        `${name} could not be loaded: ${oneLine(String(cause))}`,
        "name a file that begins with ./ or /, or an installed package"
      )
  })
  const module = Predicate.hasProperty(loaded, "default") ? loaded.default : loaded
  if (!isProviderModule(module)) {
    return yield* invalid(
      "module",
      `${name} is no provider: its default export was not made by defineProvider, or for another version of the port`,
      "export default defineProvider({ apiVersion: 1, name, options, layer })"
    )
  }
  const options = yield* Effect.mapError(
    module.decode(optionsFile === undefined ? {} : yield* read(optionsFile)),
    (error) =>
      invalid(
        "options",
        `${name} refuses its options: ${oneLine(error.message)}`,
        optionsFile === undefined ? "pass them with --options <file>" : `correct ${optionsFile}`
      )
  )
  return module.layer(options)
})

/** The value in a JSON or YAML file; JSON is YAML. */
const read = Effect.fnUntraced(function* (file: string) {
  const { parse } = yield* Effect.promise(() => import("../config/Yaml.ts"))
  const text = yield* Effect.mapError((yield* FileSystem.FileSystem).readFileString(file), (error) =>
    invalid("options", `${file} cannot be read: ${oneLine(error.message)}`, "name a readable file")
  )
  const { problems, value } = parse(text)
  if (problems.length === 0) return value
  const where = problems.map(({ line, message }) => (line === undefined ? message : `${message} (line ${line})`))
  return yield* invalid("options", `${file}: ${where.join("; ")}`, "write the options as a map of keys")
})

/** A repository for the laws about checkouts, gone with the scope. */
const repository = Effect.gen(function* () {
  const fs = yield* FileSystem.FileSystem
  const made = Effect.gen(function* () {
    const cwd = yield* fs.realPath(yield* fs.makeTempDirectoryScoped({ prefix: "sandbox-conform-" }))
    yield* Git.output(["init", "--quiet", "--initial-branch", "work"], { cwd })
    yield* fs.writeFileString(`${cwd}/file`, "first\n")
    yield* Git.output(["add", "--all"], { cwd })
    const author = [
      "-c",
      "user.name=Conformance",
      "-c",
      "user.email=conformance@example.org",
      "-c",
      "commit.gpgsign=false"
    ]
    yield* Git.output([...author, "commit", "--quiet", "--message", "first"], { cwd })
    const commit = (yield* Git.output(["rev-parse", "HEAD"], { cwd })).trim()
    return { repository: cwd, branch: "work", commit, fallbackBranch: "sandbox/conform" }
  })
  return yield* Effect.mapError(made, (error) =>
    SandboxError.make("ERR_WORKSPACE_FAILED", {
      message: `a repository for the laws about checkouts could not be made: ${oneLine(error.message)}`,
      nextStep: "install git 2.31 or later, and make the temporary directory writable"
    })
  )
})

const oneLine = (text: string): string => text.trim().replaceAll(/\s*\n\s*/g, " ")

const marks = { passed: "ok", failed: "BROKEN", skipped: "skipped" } as const

const progress = (verdict: Verdict, done: number, total: number): string =>
  `${done}/${total} ${marks[verdict.status]} ${verdict.group}: ${verdict.name}${verdict.status === "skipped" ? "" : ` (${verdict.ms} ms)`}`

const human = (report: Report): string => {
  const rows = report.laws.map((law) => [marks[law.status], law.group, law.name])
  const notes = (status: Verdict["status"]) =>
    report.laws.flatMap((law) =>
      law.status !== status ? [] : [`  ${law.name}`, ...(law.status === "failed" ? [`    ${law.problem}`] : [])]
    )
  const skips = new Map<string, number>()
  for (const law of report.laws) {
    if (law.status === "skipped") skips.set(law.reason, (skips.get(law.reason) ?? 0) + 1)
  }
  const { failed, passed, provider, skipped } = report
  const verdict = report.conforms ? "conforms" : failed > 0 ? "does not conform" : "could not be checked"
  return [
    Render.table([["RESULT", "GROUP", "LAW"], ...rows]),
    ...(skips.size === 0 ? [] : ["", "skipped:", ...[...skips].map(([reason, count]) => `  ${count}: ${reason}`)]),
    ...(failed === 0 ? [] : ["", "broken:", ...notes("failed")]),
    "",
    `${provider}  ${verdict}: ${passed} passed, ${failed} failed, ${skipped} skipped`
  ].join("\n")
}

export const provider = Command.make("provider").pipe(
  Command.withDescription("What sessions run on: which providers there are, and whether one keeps the laws."),
  Command.withShortDescription("List providers, and prove one"),
  Command.withSubcommands([list, conform])
)
