/** Settings of the programs that have a default. */
import { Context, Duration } from "effect"

/** Sizes and times of the product's own records. */
export const Limits = Context.Reference("@org/sandbox-core/Settings/Limits", {
  defaultValue: () => ({
    /** The largest session record, in bytes. */
    maxRecordBytes: 131_072,
    /** How long `list` shows a session after it ended. */
    recentWindow: Duration.days(7),
    /** How long the record of a session is kept after it ended, and with it the answers to its requests. */
    tombstoneRetention: Duration.days(30),
    /** How long a checkpoint outlives its session, and how old one of a living session grows that a later one replaces. */
    checkpointRetention: Duration.days(30)
  })
})
