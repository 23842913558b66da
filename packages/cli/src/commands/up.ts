import { Ledger, Principal, up as program, SandboxError } from "@org/sandbox-core"
import { Effect, Option } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import * as args from "../arguments.ts"
import type { Request } from "../config/Loaded.ts"
import { DurationText } from "../Duration.ts"
import * as Output from "../Output.ts"
import { builtin } from "../Providers.ts"
import * as Render from "../Render.ts"
import { performConfigured, root, unconfigured } from "../root.ts"

const text = (name: string, description: string, metavar = "text") =>
  Flag.String(name).pipe(Flag.withDescription(description), Flag.withMetavar(metavar), Flag.optional)

const many = (name: string, description: string, metavar: string) =>
  Flag.String(name).pipe(Flag.withDescription(description), Flag.withMetavar(metavar), Flag.atLeast(0))

const toggle = (name: string, description: string) =>
  Flag.Boolean(name).pipe(Flag.withDescription(description), Flag.withDefault(false))

export const up = Command.make(
  "up",
  {
    repository: Argument.String("repository").pipe(
      Argument.withDescription(
        "A path of a git repository, or its URL; that of the configuration, or the one here, when absent"
      ),
      Argument.optional
    ),
    branch: Flag.String("branch").pipe(
      Flag.withAlias("b"),
      Flag.withDescription("The branch to work on; the repository's default one when absent"),
      Flag.optional
    ),
    base: Flag.String("base").pipe(
      Flag.withDescription("Create the branch from this branch, tag or commit if it does not exist"),
      Flag.optional
    ),
    depth: Flag.Int("depth").pipe(
      Flag.withDescription("How many commits of history a clone gets; all, when absent"),
      Flag.optional
    ),
    name: Flag.String("name").pipe(
      Flag.withAlias("n"),
      Flag.withDescription("The session's name; <repository>-<branch> when absent"),
      Flag.optional
    ),
    provider: Flag.String("provider").pipe(
      Flag.withAlias("p"),
      Flag.withDescription(
        `Where it runs: ${Object.keys(builtin).join(", ")}, or a provider of the configuration (SANDBOX_PROVIDER)`
      ),
      Flag.optional
    ),
    fromCheckpoint: text(
      "from-checkpoint",
      "Start with the work of a checkpoint, its id or the start of it; the repository is then its own",
      "checkpoint"
    ),
    parent: text(
      "parent",
      "The session on whose behalf this one is started, as an agent's for its sub-agent",
      "session"
    ),
    ttl: Flag.String("ttl").pipe(
      Flag.withDescription("Let `gc` halt the session after this long: 8h, 2d; for ever, when absent"),
      Flag.withMetavar("duration"),
      Flag.withSchema(DurationText),
      Flag.optional
    ),
    profile: text("profile", "The profile of the configuration that the box is made from", "name"),
    image: text("image", "The image that the box is made from", "image"),
    cpus: Flag.Finite("cpus").pipe(Flag.withDescription("Virtual CPUs of the box"), Flag.optional),
    memory: Flag.String("memory").pipe(
      Flag.withDescription("Memory of the box: 512m, 8g"),
      Flag.withMetavar("size"),
      Flag.optional
    ),
    services: many("services", "Only these services of the configuration, joined by commas", "names"),
    skip: many("skip", "All services of the configuration but these, joined by commas", "names"),
    port: many("port", "Take this port as it is, whatever the slot; may be repeated", "name=n"),
    secret: many(
      "secret",
      "A secret from a variable of this host, or from a file; never its value. May be repeated",
      "NAME[=env:X|file:P]"
    ),
    reuseWorktree: toggle("reuse-worktree", "Take over the worktree that has the branch already; it is never removed"),
    noInheritEnv: toggle("no-inherit-env", "Leave the configuration's inherit_env out"),
    trustConfig: toggle("trust-config", "Accept the repository's sandbox.yaml as it is now, and go on"),
    open: toggle("open", "Open the primary service's page once the session is ready"),
    ...args.request
  },
  (flags) =>
    Effect.gen(function* () {
      const { json, quiet } = yield* root
      const provider = Option.getOrUndefined(flags.provider)
      const set = (path: ReadonlyArray<string>, flag: string, value: Option.Option<unknown>) =>
        [path, `--${flag}`, Option.getOrUndefined(value)] as const
      const checkpoint = Option.getOrUndefined(flags.fromCheckpoint)
      const repository =
        Option.isSome(flags.repository) || checkpoint === undefined
          ? Option.getOrUndefined(flags.repository)
          : yield* unconfigured(repositoryOf(checkpoint))
      const request = {
        repository,
        flags: [
          [["provider"], "--provider", provider],
          set(["sandbox", "profile"], "profile", flags.profile),
          set(["repo", "branch"], "branch", flags.branch),
          set(["repo", "base"], "base", flags.base),
          set(["repo", "depth"], "depth", flags.depth)
        ] as const
      }
      const made = Option.isNone(flags.clientRequestId)
        ? undefined
        : yield* unconfigured(madeBy(flags.clientRequestId.value))
      const bringUp = (load: Omit<Request, "config">) =>
        performConfigured({
          load,
          before: (loaded) =>
            Effect.gen(function* () {
              const { prepare } = yield* Effect.promise(() => import("../config/prepare.ts"))
              return yield* prepare(loaded, flags, made)
            }),
          program: ({ accepting, options, warnings }) =>
            Effect.gen(function* () {
              const { accepts } = yield* Effect.promise(() => import("../config/prepare.ts"))
              const result = yield* accepting === undefined ? program(options) : accepts(accepting, program(options))
              return { ...result, warnings: [...warnings, ...result.warnings] }
            })
        })
      const configured = bringUp({ ...request, remote: { quiet }, accepted: flags.trustConfig })
      const result = yield* made === undefined
        ? configured
        : Effect.catchIf(configured, isUnconfigured, (error) =>
            bringUp({ ...request, flags: request.flags.filter(([[key]]) => key !== "sandbox"), typedOnly: true }).pipe(
              // what was typed may not be all that was asked for then
              Effect.mapError((other) => (other.operationId === null || isMismatch(other) ? error : other))
            )
          )
      yield* Output.result(result, { json, human: Render.up })
    })
).pipe(
  Command.withDescription(
    "Bring up a session: a repository at a branch, in a sandbox of its own, ready to work in. What it runs beside the checkout says the repository's sandbox.yaml. A name that is held is refused with the command that goes on with its holder."
  ),
  Command.withShortDescription("Bring up a new session"),
  Command.withExamples([
    { command: "sandbox up . --branch main --provider local", description: "The repository here, at its branch main" },
    { command: "sandbox up --from-checkpoint ckp_01k9 -p local", description: "Go on with what was saved" },
    {
      command: "sandbox up https://example.com/app.git -b fix-1 --base main -p local --json",
      description: "A new branch of a remote repository, answered as JSON"
    }
  ])
)

/** The repository of a checkpoint's session; one that is not there, or not this principal's, is refused by the program. */
const repositoryOf = Effect.fnUntraced(function* (checkpoint: string) {
  const ledger = yield* Ledger.Ledger
  const found = Option.getOrUndefined(yield* ledger.checkpoint(checkpoint))
  const session = found && Option.getOrUndefined(yield* ledger.session(found.sessionId))
  return session?.owner === (yield* Principal.Principal) ? session.repository : undefined
})

/** The session that a request with this id has made: it is answered again, whatever the configuration says now. */
const madeBy = Effect.fnUntraced(function* (clientRequestId: string) {
  const ledger = yield* Ledger.Ledger
  const owner = yield* Principal.Principal
  const known = Option.getOrUndefined(yield* ledger.request({ owner, verb: "up", clientRequestId }))
  return known === undefined ? undefined : Option.getOrUndefined(yield* ledger.session(known.sessionId))
})

/** The configuration cannot be read, or does not go with what was typed any more. */
const isUnconfigured = (error: SandboxError.SandboxError): boolean =>
  error.operationId === null &&
  SandboxError.hasCode(
    "ERR_CONFIG_INVALID",
    "ERR_CONFIG_MISSING",
    "ERR_INVALID_ARGUMENT",
    "ERR_REPO_UNRESOLVED",
    "ERR_WORKSPACE_FAILED"
  )(error)

const isMismatch = SandboxError.hasCode("ERR_IDEMPOTENCY_MISMATCH")
