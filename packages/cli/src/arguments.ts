/** Arguments and flags that several verbs share. */
import { Argument, Flag } from "effect/cli"

export const session = Argument.String("session").pipe(
  Argument.withDescription("A session's name, its id, or the start of its id")
)

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
