/** Whether a service does what it is there for, and where it is reached from this host. */
import { Duration, Effect, Option } from "effect"
import { Ports } from "../../Ports.ts"
import type { Session } from "../../Session.ts"
import type * as Setup from "../../Setup.ts"
import * as Slots from "../../Slots.ts"
import { argv } from "../hooks.ts"
import * as engine from "./engine.ts"
import * as tool from "./tool.ts"

/** How long a connection has to last to have been meant: the engine accepts for a container that does not listen yet. */
const lasting = Duration.millis(150)

/** One look at the containers of a service, by its own healthcheck and by what the setup says. */
export const isWorking = Effect.fnUntraced(function* (
  own: ReadonlyArray<engine.Container>,
  options: {
    readonly declared: Setup.ComposeService | undefined
    readonly row: Session
    /** Whether it had time enough to fail. */
    readonly settled: boolean
  }
) {
  const { declared, row, settled } = options
  const health = declared?.health
  if (own.length === 0 || !own.every(engine.isUp)) return false
  const isDone = own.every(({ status }) => status === "exited")
  if (isDone) return health === undefined && (declared?.ports.length ?? 0) === 0
  if (own.some(({ health }) => health !== undefined && health !== "healthy")) return false
  if (health === undefined) return settled || own.every(({ health }) => health === "healthy")
  const [port] = declared!.ports
  const number = port === undefined ? undefined : onHost(row, own, port.name)
  switch (health.kind) {
    case "tcp":
      return number !== undefined && (yield* (yield* Ports).accepts(number, lasting))
    case "http": {
      if (number === undefined) return false
      const status = yield* (yield* Ports).httpStatus(`http://127.0.0.1:${number}${health.path}`)
      return status !== undefined && status < 400
    }
    case "command": {
      const [first] = own
      const asked = tool.docker(["exec", "--", first!.id, ...argv(health.command)], { session: row.id })
      // a check that hangs is a check that fails
      const outcome = yield* Effect.timeoutOption(asked, Duration.seconds(Math.min(10, declared!.deadlineS)))
      return Option.isSome(outcome) && outcome.value.code === 0
    }
  }
})

/**
 * The port of this host that leads to what a port's name means. A session whose box shares this host's ports has a slot, and
 * the port was chosen for it; of others the containers tell.
 */
export const onHost = (row: Session, own: ReadonlyArray<engine.Container>, name: string): number | undefined => {
  const number = Slots.numberOf(row.ports ?? {}, name)
  if (Slots.isOnHost(row)) return number
  return own.flatMap(({ published }) => published).find(({ target }) => target === number)?.number
}
