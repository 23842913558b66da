/** What core needs to know of the machine and the process it runs in, and cannot learn from `effect` alone. */
import { Context, type Effect, Schema } from "effect"

/** A process that holds a claim or a lock. `startedAt` is an opaque token that tells a recycled pid from the original. */
export class Holder extends Schema.Class<Holder>("@org/sandbox-core/Holder")({
  host: Schema.String,
  pid: Schema.Int,
  startedAt: Schema.String
}) {}

/**
 * The machine, the process and the user.
 *
 * `isAlive` answers only for processes on this very host (same machine, same boot, same pid namespace); it must say
 * `true` whenever death is not proven.
 */
export class Host extends Context.Service<
  Host,
  {
    /** This process. `self.host` is the host id: a hash of machine id, boot id and pid namespace. */
    readonly self: Holder
    /** The machine whatever it runs: the same after a reboot, which `self.host` is not. Where local boxes are. */
    readonly machine: string
    /** The operating system's name for the user. */
    readonly user: string
    readonly isAlive: (process: { readonly pid: number; readonly startedAt: string }) => Effect.Effect<boolean>
    /** The start token of a live process, or none when there is no such process. */
    readonly startedAt: (pid: number) => Effect.Effect<string | undefined>
  }
>()("@org/sandbox-core/Host") {}

/** Where durable state and disposable caches live on this machine; both are created on first use. */
export class Directories extends Context.Service<
  Directories,
  {
    /** Absolute. Ledger, checkpoints and local boxes: losing it loses work. */
    readonly state: string
    /** Absolute. Mirrors of remote repositories: losing it costs time. */
    readonly cache: string
  }
>()("@org/sandbox-core/Directories") {}
