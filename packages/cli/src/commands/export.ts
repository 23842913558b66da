import { exportSession } from "@org/sandbox-core"
import { Effect, Option } from "effect"
import { Command, Flag } from "effect/cli"
import * as args from "../arguments.ts"
import * as Render from "../RenderExport.ts"
import { answer } from "../root.ts"

export const exportWork = Command.make(
  "export",
  {
    session: args.optionalSession,
    to: Flag.Literals("to", ["branch", "patch", "bundle"]).pipe(
      Flag.withDescription(
        "branch: push to the session's repository; patch: a series of patches; bundle: one file that git fetches from"
      ),
      Flag.withDefault("branch" as const)
    ),
    branch: Flag.String("branch").pipe(
      Flag.withAlias("b"),
      Flag.withDescription("The branch to push to, or that a bundle names; sandbox/<session> when absent"),
      Flag.optional
    ),
    message: Flag.String("message").pipe(
      Flag.withAlias("m"),
      Flag.withDescription("The message of the commit that holds what is not committed"),
      Flag.withMetavar("text"),
      Flag.optional
    ),
    output: Flag.String("output").pipe(
      Flag.withAlias("o"),
      Flag.withDescription("The directory that files are written to; one below the state directory when absent"),
      Flag.withMetavar("directory"),
      Flag.optional
    ),
    force: args.force(
      "Replace a branch that has other work, unless somebody changes it in the same moment; never overrides another export"
    ),
    ...args.request
  },
  ({ force, session, to, wait, ...flags }) => {
    const options = {
      to,
      force,
      wait,
      branch: Option.getOrUndefined(flags.branch),
      message: Option.getOrUndefined(flags.message),
      output: Option.getOrUndefined(flags.output),
      clientRequestId: Option.getOrUndefined(flags.clientRequestId)
    }
    const program = Effect.flatMap(args.chosen(session), (session) => exportSession({ ...options, session }))
    return Effect.asVoid(answer(program, Render.exported))
  }
).pipe(
  Command.withDescription(
    "Take the work of a session out of it: what is checked out and, as one commit on top, what is not committed. The checkout stays as it is, and nothing else moves the session meanwhile. A halted session whose checkout is gone is exported from its checkpoint. A completed session is destroyed afterwards, once it was kept long enough and all of it is saved."
  ),
  Command.withShortDescription("Push the work to a branch, or write it to files"),
  Command.withExamples([
    { command: "sandbox export app-main", description: "Push to the branch sandbox/app-main" },
    { command: "sandbox export app-main --to patch -o patches", description: "Write a series of patches" }
  ])
)
