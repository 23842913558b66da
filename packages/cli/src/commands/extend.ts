import { extend as program, SandboxError } from "@org/sandbox-core"
import { Duration, Effect, Option } from "effect"
import { Command, Flag } from "effect/cli"
import * as args from "../arguments.ts"
import { DurationText } from "../Duration.ts"
import * as Render from "../RenderExport.ts"
import { answer } from "../root.ts"

export const extend = Command.make(
  "extend",
  {
    session: args.optionalSession,
    ttl: Flag.String("ttl").pipe(
      Flag.withDescription("How long from now: 8h, 2d"),
      Flag.withMetavar("duration"),
      Flag.withSchema(DurationText),
      Flag.optional
    ),
    never: Flag.Boolean("never").pipe(
      Flag.withDescription("Let nothing halt the session by itself"),
      Flag.withDefault(false)
    ),
    ...args.request
  },
  ({ clientRequestId, never, session, ttl, wait }) => {
    const options = { wait, clientRequestId: Option.getOrUndefined(clientRequestId) }
    const run = Effect.gen(function* () {
      if (never === Option.isSome(ttl)) return yield* unclear
      const time = Option.getOrNull(Option.map(ttl, Duration.toMillis))
      return yield* program({ ...options, session: yield* args.chosen(session), ttl: time })
    })
    return Effect.asVoid(answer(run, Render.extended))
  }
).pipe(
  Command.withDescription(
    "Set how long a session may be up from now on, or that nothing limits it. `gc` halts it after that, saving the work, and never destroys it for it."
  ),
  Command.withShortDescription("Set how long a session may be up"),
  Command.withExamples([{ command: "sandbox extend app-main --ttl 8h", description: "Eight more hours" }])
)

const unclear = SandboxError.make("ERR_INVALID_ARGUMENT", {
  message: "one of --ttl and --never says how long",
  nextStep: "pass a time such as --ttl 8h, or --never",
  details: { field: "ttl" }
})
