/** What detectors look with, and what they answer. */
import type { Effect } from "effect"

/** Something that was seen. */
export interface Signal {
  readonly file: string
  readonly what: string
  /** 0 to 1: how likely it is that the suggestion made of it works. */
  readonly confidence: number
}

/** A service that could be run. */
export interface Suggestion {
  readonly name: string
  readonly command: string
  readonly port?: number | undefined
  /** The variable that the command reads its port from. */
  readonly portEnv?: string | undefined
  readonly health?: string | undefined
  readonly confidence: number
}

/** Reads a file at the top; none when it is not there, or too large to be read by people. */
export type Read = (name: string) => Effect.Effect<string | undefined>

/** What one kind of project has to say for itself. */
export interface Finding {
  readonly signals: ReadonlyArray<Signal>
  readonly services?: ReadonlyArray<Suggestion>
  readonly prepare?: string | undefined
}
