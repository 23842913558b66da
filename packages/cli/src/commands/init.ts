import { Hasher, Repository, SandboxError } from "@org/sandbox-core"
import { Effect, FileSystem, Path, Stream } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import * as Output from "../Output.ts"
import { builtin } from "../Providers.ts"
import * as Render from "../Render.ts"
import { onPlatform, root } from "../root.ts"

const toggle = (name: string, description: string) =>
  Flag.Boolean(name).pipe(Flag.withDescription(description), Flag.withDefault(false))

export const init = Command.make(
  "init",
  {
    path: Argument.String("path").pipe(
      Argument.withDescription("A repository on this host; the one here, when absent"),
      Argument.withDefault(".")
    ),
    provider: Flag.String("provider").pipe(
      Flag.withAlias("p"),
      Flag.withDescription(
        `Where sessions are to run: ${Object.keys(builtin).join(", ")}, or one of your own; local when absent`
      ),
      Flag.withDefault("local")
    ),
    yes: Flag.Boolean("yes").pipe(
      Flag.withAlias("y"),
      Flag.withDescription("Write the file without asking"),
      Flag.withDefault(false)
    ),
    explain: toggle("explain", "Show what was seen and what would be written, and write nothing"),
    force: toggle("force", "Write over a file that is there")
  },
  (flags) =>
    Effect.gen(function* () {
      const { json, noInput } = yield* root
      const { human, ...value } = yield* onPlatform(initialise({ ...flags, noInput }))
      yield* Output.result(value, { json, human: () => human })
    })
).pipe(
  Command.withDescription(
    "Write a sandbox.yaml for a repository: what it is and how it runs is told by its files. The file is yours, and is accepted for this host at once."
  ),
  Command.withShortDescription("Write a sandbox.yaml"),
  Command.withExamples([
    { command: "sandbox init --explain", description: "What would be written, and why" },
    { command: "sandbox init --yes", description: "Write it without asking" }
  ])
)

interface InitFlags {
  readonly path: string
  readonly provider: string
  readonly yes: boolean
  readonly explain: boolean
  readonly force: boolean
  readonly noInput: boolean
}

const invalid = (field: string, message: string, nextStep: string) =>
  SandboxError.make("ERR_INVALID_ARGUMENT", { message, nextStep, details: { field } })

const initialise = Effect.fnUntraced(function* (flags: InitFlags) {
  const { canAsk, confirm } = yield* Effect.promise(() => import("../init/ask.ts"))
  const { detect } = yield* Effect.promise(() => import("../init/detect.ts"))
  const { write } = yield* Effect.promise(() => import("../init/write.ts"))
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  if (!/^[a-z0-9][a-z0-9_-]*$/.test(flags.provider)) {
    return yield* invalid(
      "provider",
      `the provider ${JSON.stringify(flags.provider)} is no name of one`,
      `pass one of ${Object.keys(builtin).join(", ")}, or the name of your own`
    )
  }
  const source = yield* Repository.parse(flags.path, path.resolve("."))
  const isDirectory = yield* fs.stat(source.location).pipe(
    Effect.map(({ type }) => type === "Directory"),
    Effect.orElseSucceed(() => false)
  )
  if (source._tag === "url" || !isDirectory) {
    return yield* invalid(
      "path",
      `${source.location} is no directory on this host`,
      "pass the path of a repository here"
    )
  }
  const file = path.join(source.location, "sandbox.yaml")
  const exists = yield* Effect.orElseSucceed(fs.exists(file), () => true)
  const detected = yield* detect(source.location)
  const text = write(detected, flags.provider)
  const answer = {
    file,
    provider: flags.provider,
    services: detected.services,
    signals: detected.signals,
    prepare: detected.prepare ?? null,
    inheritEnv: detected.inherit
  }
  if (flags.explain) {
    return {
      ...answer,
      written: false,
      trusted: false,
      text,
      warnings: [],
      human: `${seen(detected.signals)}\n\n${file} would be:\n\n${text.trimEnd()}`
    }
  }
  if (exists && !flags.force) {
    return yield* SandboxError.make("ERR_FORCE_REQUIRED", {
      message: `${file} is there already`,
      nextStep: "write over it with `sandbox init --force`, or see what would be written with `sandbox init --explain`",
      details: { field: "force", file }
    })
  }
  yield* check(text)
  if (!flags.yes) {
    if (flags.noInput || !canAsk()) {
      return yield* invalid(
        "yes",
        "writing sandbox.yaml has to be confirmed, and nobody can be asked here",
        "pass --yes, or see what would be written with --explain"
      )
    }
    yield* Output.note(`${seen(detected.signals)}\n\n${text}`)
    if (!(yield* confirm(`Write ${file}?`))) {
      return yield* SandboxError.make("ERR_ABORTED", {
        message: "nothing was written",
        nextStep: "run `sandbox init` again, or write sandbox.yaml by hand"
      })
    }
  }
  yield* Effect.mapError(replace(file, text, exists), (error) =>
    invalid("path", `${file} cannot be written: ${error.message}`, "make the directory writable")
  )
  const Trust = yield* Effect.promise(() => import("@org/sandbox-core/Trust"))
  const digest = yield* (yield* Hasher.Hasher).sha256(Stream.make(new TextEncoder().encode(text)))
  yield* Trust.accept({ file, digest })
  return { ...answer, written: true, trusted: true, warnings: [], human: `${file}  written\nnext: sandbox up` }
})

/** What is written is read once before: nobody is given a file that is refused. */
const check = Effect.fnUntraced(function* (text: string) {
  const Configuration = yield* Effect.promise(() => import("@org/sandbox-core/Configuration"))
  const { parse } = yield* Effect.promise(() => import("../config/Yaml.ts"))
  const { value, ...parsed } = parse(text)
  const { provider, ...rest } = value as Readonly<Record<string, unknown>>
  // it may be one of the user's own file
  yield* Configuration.load([{ name: "project", file: "sandbox.yaml", value: rest, ...parsed }], { providers: builtin })
})

const seen = (
  signals: ReadonlyArray<{ readonly file: string; readonly what: string; readonly confidence: number }>
): string =>
  signals.length === 0
    ? "Nothing was recognised."
    : Render.table([
        ["SEEN", "WHAT", "CONFIDENCE"],
        ...signals.map(({ confidence, file, what }) => [file, what, `${Math.round(confidence * 100)} %`])
      ])

/** Written beside and renamed into place; what is not to be replaced is not, even when it comes meanwhile. */
const replace = Effect.fnUntraced(function* (file: string, text: string, exists: boolean) {
  const fs = yield* FileSystem.FileSystem
  if (!exists) return yield* fs.writeFileString(file, text, { flag: "wx" })
  const staged = `${file}.${process.pid}.tmp`
  yield* fs.writeFileString(staged, text, { flag: "wx" })
  yield* Effect.onError(fs.rename(staged, file), () => Effect.ignore(fs.remove(staged)))
})
