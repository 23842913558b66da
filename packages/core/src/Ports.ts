/** What core needs to know of this host's TCP ports, and cannot learn from `effect` alone. */
import { Context, type Duration, type Effect, Schema, type Scope } from "effect"

/** Who listens on a port. */
export interface Listener {
  readonly port: number
  /** None where the process belongs to somebody else and cannot be seen. */
  readonly pid: number | null
  /** The program's name. */
  readonly command: string | null
}

/** The port could not be bound. */
export class PortInUse extends Schema.TaggedError<PortInUse>("@org/sandbox-core/PortInUse")("PortInUse", {
  port: Schema.Int
}) {}

export class Ports extends Context.Service<
  Ports,
  {
    /** Who listens on a port on any address of this host; none when nobody does. */
    readonly listener: (port: number) => Effect.Effect<Listener | undefined>
    /** Those of these ports that somebody listens on, by number: one look for all of them. */
    readonly listeners: (ports: ReadonlyArray<number>) => Effect.Effect<ReadonlyMap<number, Listener>>
    /** Every listener of a process. */
    readonly listeningOn: (pid: number) => Effect.Effect<ReadonlyArray<number>>
    /**
     * Binds the port on every loopback and wildcard address, and keeps others from it until the scope closes. Whoever
     * connects to it meanwhile is turned away at once. Afterwards it can be bound at once.
     */
    readonly hold: (port: number) => Effect.Effect<void, PortInUse, Scope.Scope>
    /**
     * Whether something accepts connections on a loopback address's port, asked once and briefly; with `lasting`, and
     * does not close them within that time: whoever only passes them on accepts what nobody behind it wants.
     */
    readonly accepts: (port: number, lasting?: Duration.Duration) => Effect.Effect<boolean>
    /**
     * The status of a GET, asked once and briefly; none when nothing answers. Follows no redirect. What listens on one
     * loopback address only is found by the URL of any.
     */
    readonly httpStatus: (url: string) => Effect.Effect<number | undefined>
  }
>()("@org/sandbox-core/Ports") {}
