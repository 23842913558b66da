/** Short leases and short waits, so that a cell takes seconds. */
import * as Claim from "@org/sandbox-core/Claim"
import { CallPolicy } from "@org/sandbox-core/Provisioners"
import { Duration, Layer } from "effect"
import { control } from "./points.ts"

const { look, provision, stop, workspace } = CallPolicy.defaultValue()
const soon = {
  base: Duration.millis(50),
  cap: Duration.millis(100),
  // where an engine is paused, what has a limit comes up against it
  ...(control?.fault === "pause" && { limit: Duration.seconds(3) })
}

export const hurried: Layer.Layer<never> = Layer.mergeAll(
  Layer.succeed(CallPolicy)({
    provision: { ...provision, ...soon },
    stop: { ...stop, ...soon },
    look: { ...look, ...soon },
    workspace: { ...workspace, ...soon }
  }),
  Layer.succeed(Claim.Timings)({
    ...Claim.Timings.defaultValue(),
    lease: Duration.seconds(3),
    renewal: Duration.seconds(1)
  })
)
