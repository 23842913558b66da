/** The time as records keep it. */
import { Clock, Effect } from "effect"

/** Whole milliseconds since the epoch. A clock may know more than that; a database column of integers must not. */
export const millis: Effect.Effect<number> = Effect.map(Clock.currentTimeMillis, Math.trunc)
