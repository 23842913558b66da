/** What is asked of a compose file, and what is found in it on the way. */
import type { Entries, Mount, Remark } from "./document.ts"

/** A port of a service, as a setup declares it. */
export interface Published {
  /** As the session calls it. */
  readonly name: string
  /** On 127.0.0.1 of this host; one that the engine chooses, when absent. */
  readonly number?: number | undefined
  /** In the container; the one that the file names, when absent. */
  readonly target?: number | undefined
}

export interface Wanted {
  readonly project: string
  readonly labels: Readonly<Record<string, string>>
  /** Which services, with what they need; all that are behind no profile, when there is none. */
  readonly services: ReadonlyArray<{ readonly name: string; readonly ports: ReadonlyArray<Published> }>
  /** A network that exists already and takes the place of the default one: a box in it sees the services by name. */
  readonly network?: string | undefined
  /** Whether they stand beside a box that keeps what runs in it from this host: then they must not lead there either. */
  readonly isolated?: boolean | undefined
}

export interface Rewritten {
  readonly document: Entries
  /** What a session cannot have. */
  readonly problems: ReadonlyArray<Remark>
  readonly warnings: ReadonlyArray<Remark>
  /** What of this host the services get to see: whoever calls decides whether they may. */
  readonly mounts: ReadonlyArray<Mount>
  /** What listens in the container, by the names of ports. */
  readonly targets: Readonly<Record<string, number>>
}

/** What is noticed while a document is rewritten. */
export interface Remarks {
  readonly problems: Array<Remark>
  readonly warnings: Array<Remark>
  readonly mounts: Array<Mount>
  readonly targets: Record<string, number>
}

/** What the parts of a document are rewritten with. */
export interface Context {
  readonly wanted: Wanted
  readonly remarks: Remarks
}
