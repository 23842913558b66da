import { logs as program, type SandboxError, View } from "@org/sandbox-core"
import { Duration, Effect, Option, Stream } from "effect"
import { Command, Flag } from "effect/cli"
import * as args from "../arguments.ts"
import { DurationText } from "../Duration.ts"
import { note, stopped, write } from "../Output.ts"
import { perform, root } from "../root.ts"

type Logs = Effect.Success<ReturnType<typeof program>>
type Line = Stream.Success<Logs["lines"]>

export const logs = Command.make(
  "logs",
  {
    session: args.optionalSession,
    service: Flag.String("service").pipe(
      Flag.withAlias("s"),
      Flag.withDescription("One service, or one run of `exec --detach`; all that there are when absent"),
      Flag.withMetavar("name"),
      Flag.optional
    ),
    follow: Flag.Boolean("follow").pipe(
      Flag.withAlias("f"),
      Flag.withDescription("Go on with what is written, until all that is followed has ended"),
      Flag.withDefault(false)
    ),
    tail: Flag.Int("tail").pipe(
      Flag.withAlias("n"),
      Flag.withDescription("Only this many last lines of each"),
      Flag.withMetavar("lines"),
      Flag.optional
    ),
    since: Flag.String("since").pipe(
      Flag.withDescription("Only what was written within this time: 30s, 5m, 2h"),
      Flag.withMetavar("duration"),
      Flag.withSchema(DurationText),
      Flag.optional
    )
  },
  ({ follow, service, session, since, tail }) =>
    Effect.gen(function* () {
      const { json } = yield* root
      const show = json ? objects : Option.isSome(service) ? asItIs : prefixed
      const reading = Effect.gen(function* () {
        const found = yield* program({
          session: yield* args.chosen(session),
          service: Option.getOrUndefined(service),
          follow,
          tail: Option.getOrUndefined(tail),
          since: Option.getOrUndefined(Option.map(since, Duration.toMillis))
        })
        if (found.services.length === 0 && !json)
          yield* note(`${found.name} has no services, and nothing runs detached`)
        yield* show(found)
      })
      yield* Effect.catchCause(perform(reading), stopped)
    })
).pipe(
  Command.withDescription(
    "What a session's services wrote, and what runs in it by itself: all together with a prefix, or one of them as it is. With --json a line is an object: seq, service, at, line."
  ),
  Command.withShortDescription("Show what services wrote"),
  Command.withExamples([
    { command: "sandbox logs app-main --follow --tail 20", description: "The last lines of all, and what comes" },
    { command: "sandbox logs app-main --service web --since 5m", description: "One of them, byte for byte" }
  ])
)

type Shown = Effect.Effect<void, SandboxError.SandboxError>

const asItIs = ({ output }: Logs): Shown => Stream.runForEach(output, ({ bytes }) => write(process.stdout, bytes))

const lineFeed = new Uint8Array([10])

const prefixed = ({ lines, services }: Logs): Shown => {
  const width = Math.max(...services.map(({ length }) => length))
  return Stream.runForEach(lines, ({ bytes, service }) =>
    write(process.stdout, Buffer.concat([Buffer.from(`${service.padEnd(width)} | `), bytes, lineFeed]))
  )
}

const objects = ({ lines }: Logs): Shown => {
  let seq = 0
  return Stream.runForEach(lines, (line) => write(process.stdout, `${JSON.stringify(object(line, seq++))}\n`))
}

/** Bytes that are no text travel beside what can be shown of them. */
const object = ({ at, bytes, service }: Line, seq: number) => {
  const line = new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes)
  const exact = Buffer.from(line).equals(bytes)
  return {
    seq,
    service,
    at: View.iso(at * 1000),
    line,
    ...(exact ? {} : { line_base64: Buffer.from(bytes).toString("base64") })
  }
}
