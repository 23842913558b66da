/** Arguments and flags that several verbs share. */
import { here, SandboxError } from "@org/sandbox-core"
import { Effect, Option, Path } from "effect"
import { Argument, Flag } from "effect/cli"

export const session = Argument.String("session").pipe(
  Argument.withDescription("A session's name, its id, or the start of its id")
)

/** May be left out where the current directory tells which session is meant; `chosen` finds it. */
export const optionalSession = Argument.String("session").pipe(
  Argument.withDescription(
    "A session's name, its id, or the start of its id; that of the current directory when absent"
  ),
  Argument.optional
)

/**
 * The session that was named, or that of the current directory. Runs inside `perform` and `answer`.
 *
 * With `inside` the current directory must be in the session's own checkout.
 */
export const chosen = Effect.fnUntraced(function* (
  session: Option.Option<string>,
  options: { readonly inside?: boolean } = {}
) {
  if (Option.isSome(session)) return session.value
  const path = yield* Path.Path
  const directory = yield* Effect.try({ try: () => path.resolve("."), catch: () => gone })
  const { sessionId } = yield* here({ ...options, directory })
  return sessionId
})

/** A shell may stand in a directory that was removed: the checkout of a session that was destroyed. */
const gone = SandboxError.make("ERR_INVALID_ARGUMENT", {
  message: "no session was named, and the current directory is there no more",
  nextStep: "give a session's id or name; `sandbox list` shows them",
  details: { field: "session" }
})

/** Sorts the words of a verb that runs a command: two dashes with no word before them leave the session out. */
export const words = (argv: ReadonlyArray<string>, operands: ReadonlyArray<string>) => {
  const dashes = argv.indexOf("--")
  const behind = dashes < 0 ? 0 : argv.length - dashes - 1
  const named = operands.length > behind
  return {
    session: named ? Option.fromNullishOr(operands[0]) : Option.none<string>(),
    command: named ? operands.slice(1) : operands
  }
}

/** What makes a retry safe. */
export const request = {
  clientRequestId: Flag.String("client-request-id").pipe(
    Flag.withDescription("Idempotency key: repeating the command with it does nothing twice"),
    Flag.withMetavar("key"),
    Flag.optional
  ),
  wait: Flag.Boolean("wait").pipe(
    Flag.withDescription("While the same request runs elsewhere, wait for its answer"),
    Flag.withDefault(false)
  )
}

export const force = (what: string) => Flag.Boolean("force").pipe(Flag.withDescription(what), Flag.withDefault(false))

export const confirmDataLoss = Flag.Boolean("confirm-data-loss").pipe(
  Flag.withDescription("Give up work that is saved nowhere else"),
  Flag.withDefault(false)
)
