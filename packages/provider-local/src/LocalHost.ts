/** What this provider needs to know of the host and can only learn from Node: signals. */
import { constants } from "node:os"
import { Effect } from "effect"

/** The number of a signal, by which a shell reports it as 128 + number; none for a name this system has not. */
export const signalNumber = (name: string): number | undefined =>
  (constants.signals as Readonly<Record<string, number | undefined>>)[name]

/** The name of a signal; none for a number this system has not. */
export const signalName = (number: number): string | undefined =>
  Object.entries(constants.signals).find(([, known]) => known === number)?.[0]

/** Signals the process group that a process leads. Only for a leader that was spawned here and has not been collected. */
export const signalGroup = (leader: number, name: NodeJS.Signals): Effect.Effect<void> =>
  Effect.sync(() => {
    try {
      process.kill(-leader, name)
    } catch {
      // it has ended meanwhile
    }
  })
