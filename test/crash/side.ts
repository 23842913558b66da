/** The boxes of one provider, as whoever checks a world looks at them. */
import { instanceName } from "@org/sandbox-core/Session"

/** What is looked into of a session's row. */
export interface Placed {
  readonly id: string
  readonly provider: string
  readonly state: string
  readonly instance: string | null
  readonly workspace_path: string | null
}

/** What is looked into of a world. */
export interface Surroundings {
  readonly directory: string
  readonly state: string
  entries(...path: ReadonlyArray<string>): ReadonlyArray<string>
  git(...args: ReadonlyArray<string>): string
  query<A extends object>(sql: string): ReadonlyArray<A>
}

/** The boxes of one provider. A box goes by the name of its key. */
export interface Side {
  /** As it is registered. */
  readonly provider: string
  /** What the user's configuration says of it. */
  readonly configuration?: object | undefined
  /** All that there are, with every part that is left of one. */
  readonly names: (w: Surroundings) => ReadonlyArray<string>
  /** Those in which something can run. */
  readonly running: (w: Surroundings) => ReadonlyArray<string>
  /** Every part of them, of all that carry the label of the world's ledger: what it is, its id and its box's name. */
  readonly parts: (w: Surroundings) => ReadonlyArray<string>
  /** What a making or a removal left that was not finished. */
  readonly halves: (w: Surroundings) => ReadonlyArray<string>
  /** A directory of this host with what the checkout of a session holds now; none, where there is none. */
  readonly checkout: (w: Surroundings, row: Placed) => string | undefined
  /** Changes what the checkout holds, where anybody could do so now. */
  readonly change: (w: Surroundings, row: Placed, edit: (directory: string) => void) => void
  /** Takes every box away behind everybody's back, as a disk might. */
  readonly lose: (w: Surroundings) => void
  readonly clear: (w: Surroundings) => void
  /** Where a worktree of the box of a name would be; none, where there are no worktrees. */
  readonly worktree: (w: Surroundings, name: string) => string | undefined
  /** A copy of the world's directory is no copy of these boxes. */
  readonly living: boolean
}

/** What a box goes by among those of several providers. */
export const nameOf = (provider: string, key: string): string => `${provider} ${instanceName(key)}`

/** Whether the session still refers to a box. */
export const bound = (row: Pick<Placed, "state" | "instance">): boolean =>
  row.state !== "destroyed" && row.instance !== null

/** What a row's box goes by. */
export const boxOf = ({ instance, provider }: Pick<Placed, "instance" | "provider">): string =>
  nameOf(provider, JSON.parse(instance!).key)
