/** SHA-256, which `effect` leaves to the platform. */
import { Context, type Effect, type Stream } from "effect"

export class Hasher extends Context.Service<
  Hasher,
  {
    /** The SHA-256 of a stream of bytes in lower-case hexadecimal, in constant memory. */
    readonly sha256: <E, R>(bytes: Stream.Stream<Uint8Array, E, R>) => Effect.Effect<string, E, R>
  }
>()("@org/sandbox-core/Hasher") {}
