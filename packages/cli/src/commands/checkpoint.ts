import { checkpoints, checkpoint as create, removeCheckpoint, verifyCheckpoint } from "@org/sandbox-core"
import { Effect, Option } from "effect"
import { Argument, Command } from "effect/cli"
import * as args from "../arguments.ts"
import { Quit } from "../Output.ts"
import * as Render from "../RenderCheckpoint.ts"
import { answer } from "../root.ts"

export const checkpointId = Argument.String("checkpoint").pipe(
  Argument.withDescription("A checkpoint's id, or the start of it")
)

const making = Command.make(
  "create",
  { session: args.optionalSession, ...args.request },
  ({ clientRequestId, session, wait }) => {
    const options = { wait, clientRequestId: Option.getOrUndefined(clientRequestId) }
    const program = Effect.flatMap(args.chosen(session), (session) => create({ ...options, session }))
    return Effect.asVoid(answer(program, Render.created))
  }
).pipe(
  Command.withDescription(
    "Save the work of a session as it is, running or halted: commits that its repository does not have, the index, changed and untracked files, and the ignored ones that durability.include names. What is written is read back and compared. The session goes on."
  ),
  Command.withShortDescription("Save the work of a session as it is"),
  Command.withExamples([{ command: "sandbox checkpoint create app-main", description: "Save, and go on working" }])
)

const listing = Command.make("list", { session: args.optionalSession }, ({ session }) =>
  Effect.asVoid(
    answer(
      Effect.flatMap(args.chosen(session), (session) => checkpoints({ session })),
      Render.listed
    )
  )
).pipe(
  Command.withDescription("What was saved of a session, oldest first; of a destroyed one too."),
  Command.withShortDescription("What was saved of a session")
)

const verifying = Command.make(
  "verify",
  { session: args.session, checkpoint: Argument.optional(checkpointId) },
  ({ checkpoint, session }) =>
    Effect.gen(function* () {
      const options = { session, checkpoint: Option.getOrUndefined(checkpoint) }
      const { valid } = yield* answer(verifyCheckpoint(options), Render.verified)
      // as `status` does of a session: the look succeeded, and what it saw is not well
      if (!valid) return yield* new Quit({ code: 4 })
    })
).pipe(
  Command.withDescription(
    "Read one checkpoint of a session, or all of them, whole, and compare every byte with its digest. Changes nothing; exits 4 when one cannot be used."
  ),
  Command.withShortDescription("Read checkpoints whole and compare them"),
  Command.withExamples([{ command: "sandbox checkpoint verify app-main", description: "All that was saved of it" }])
)

const removing = Command.make(
  "rm",
  { session: args.session, checkpoint: checkpointId, confirmDataLoss: args.confirmDataLoss, ...args.request },
  ({ clientRequestId, ...flags }) =>
    Effect.asVoid(
      answer(removeCheckpoint({ ...flags, clientRequestId: Option.getOrUndefined(clientRequestId) }), Render.removed)
    )
).pipe(
  Command.withDescription(
    "Remove a checkpoint. The one that a session would be brought back from goes only with --confirm-data-loss."
  ),
  Command.withShortDescription("Remove a checkpoint")
)

export const checkpoint = Command.make("checkpoint").pipe(
  Command.withDescription(
    "Saved work of sessions: verified copies that outlive the box. `down` makes one by itself; `resume`, `restore` and `up --from-checkpoint` bring the work back."
  ),
  Command.withShortDescription("Save work, and look at what was saved"),
  Command.withSubcommands([making, listing, verifying, removing])
)
