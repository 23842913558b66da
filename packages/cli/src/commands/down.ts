import { destroy as destroyProgram, list, down as program, type Results, SandboxError } from "@org/sandbox-core"
import { Effect, Option, Result } from "effect"
import { Command, Flag } from "effect/cli"
import * as args from "../arguments.ts"
import * as Output from "../Output.ts"
import * as Render from "../Render.ts"
import { answer, perform, root } from "../root.ts"

export const down = Command.make(
  "down",
  {
    session: args.optionalSession,
    all: Flag.Boolean("all").pipe(Flag.withDescription("Every session of yours that is up"), Flag.withDefault(false)),
    destroy: Flag.Boolean("destroy").pipe(
      Flag.withDescription("The same as `sandbox destroy`"),
      Flag.withDefault(false)
    ),
    keepWorktree: Flag.Boolean("keep-worktree").pipe(
      Flag.withDescription("Leave the checkout as it is, which is what happens anyway"),
      Flag.withDefault(false)
    ),
    deleteWorktree: Flag.Boolean("delete-worktree").pipe(
      Flag.withDescription("Remove the checkout; refused while it holds work that is nowhere else"),
      Flag.withDefault(false)
    ),
    force: args.force("Take over an operation that is still alive"),
    confirmDataLoss: args.confirmDataLoss,
    ...args.request
  },
  ({ all, clientRequestId, confirmDataLoss, deleteWorktree, destroy, force, keepWorktree, session, wait }) =>
    Effect.gen(function* () {
      if (keepWorktree && (deleteWorktree || destroy)) {
        return yield* SandboxError.make("ERR_INVALID_ARGUMENT", {
          message: `--keep-worktree does not go with ${destroy ? "--destroy" : "--delete-worktree"}`,
          nextStep: "pass one of them",
          details: { field: "keep-worktree" }
        })
      }
      if (all && Option.isSome(session)) {
        return yield* SandboxError.make("ERR_INVALID_ARGUMENT", {
          message: "a session was named together with --all",
          nextStep: "name one session, or pass --all; `sandbox list` shows what there is",
          details: { field: "session" }
        })
      }
      if (all) {
        if (!destroy && !deleteWorktree && !confirmDataLoss && Option.isNone(clientRequestId))
          return yield* everything(force)
        return yield* SandboxError.make("ERR_INVALID_ARGUMENT", {
          message:
            "--all halts, keeping the work: it does not go with --destroy, --delete-worktree, --confirm-data-loss or --client-request-id",
          nextStep: "give up sessions one by one with `sandbox destroy`; `sandbox list` shows them",
          details: { field: "all" }
        })
      }
      const options = { confirmDataLoss, force, clientRequestId: Option.getOrUndefined(clientRequestId), wait }
      if (destroy) {
        const chosen = args.chosen(session, { inside: true })
        const destroying = Effect.flatMap(chosen, (session) => destroyProgram({ ...options, session }))
        return yield* Effect.asVoid(answer(destroying, Render.destroyed))
      }
      const one = Effect.mapError(args.chosen(session), (error) =>
        Option.isSome(session)
          ? error
          : SandboxError.extend(error, { nextStep: `${error.nextStep}; or halt all that are up with --all` })
      )
      const halting = Effect.flatMap(one, (session) => program({ ...options, deleteWorktree, session }))
      yield* answer(halting, Render.down)
    })
).pipe(
  Command.withDescription(
    "Halt a session, keeping its work: the box is stopped, and a record of the session is saved and verified. `sandbox resume` brings it back. Run again it finishes what an interrupted `down` began."
  ),
  Command.withShortDescription("Halt a session, keeping its work"),
  Command.withExamples([{ command: "sandbox down app-main", description: "Halt one session" }])
)

/** One failure does not keep the others up; the worst one decides the exit code. */
const everything = Effect.fnUntraced(function* (force: boolean) {
  const { json } = yield* root
  const { errors, results } = yield* perform(
    Effect.gen(function* () {
      const { sessions } = yield* list()
      const results: Array<Results.DownResult> = []
      const errors: Array<SandboxError.SandboxError> = []
      for (const { sessionId, state } of sessions) {
        if (state === "stopped" || state === "destroyed" || state === "failed") continue
        const outcome = yield* Effect.result(program({ session: sessionId, force }))
        if (Result.isSuccess(outcome)) results.push(outcome.success)
        else errors.push(SandboxError.extend(outcome.failure, { sessionId }))
      }
      return { results, errors }
    })
  )
  const [worst] = errors.toSorted((a, b) => SandboxError.exitCode(b.code) - SandboxError.exitCode(a.code))
  if (worst !== undefined) {
    return yield* SandboxError.extend(worst, {
      message: `${errors.length} of ${errors.length + results.length} sessions are not down; ${worst.sessionId}: ${worst.message}`,
      details: { down: results.map(({ sessionId }) => sessionId), failed: errors.map(Output.errorObject) }
    })
  }
  yield* Output.result(
    { sessions: results, warnings: [] },
    { json, human: () => (results.length === 0 ? "Nothing was up." : results.map(Render.down).join("\n")) }
  )
})
