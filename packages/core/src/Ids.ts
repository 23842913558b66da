/** Identifiers: 48 bits of time, then 80 random bits, so that they sort by age and never repeat. */
import { Context, Effect, Layer } from "effect"
import * as Time from "./Time.ts"

/** Kinds of identifier, by the prefix they carry. */
export type Prefix = "sbx" | "op" | "clm" | "orp" | "ckp" | "ldg" | "run"

export class Ids extends Context.Service<
  Ids,
  {
    /** A fresh identifier such as `sbx_01k9…`: lower case, 26 characters after the prefix. */
    readonly next: (prefix: Prefix) => Effect.Effect<string>
    /** A fresh text that nobody can guess: 32 lower-case letters and digits, 160 random bits. */
    readonly secret: Effect.Effect<string>
  }
>()("@org/sandbox-core/Ids") {}

const alphabet = "0123456789abcdefghjkmnpqrstvwxyz"

const append = (bits: bigint, bytes: Uint8Array): bigint =>
  bytes.reduce((sum, byte) => (sum << 8n) | BigInt(byte), bits)

/** The lowest five bits for each character. */
const spell = (bits: bigint, length: number): string =>
  Array.from({ length }, (_, at) => alphabet[Number((bits >> BigInt(5 * (length - 1 - at))) & 31n)]).join("")

const encode = (time: number, random: Uint8Array): string => spell(append(BigInt(time), random), 26)

/** Identifiers from a source of 10 random bytes and the clock. */
export const layer = (random: () => Uint8Array): Layer.Layer<Ids> =>
  Layer.succeed(Ids)({
    next: (prefix) => Effect.map(Time.millis, (now) => `${prefix}_${encode(now, random())}`),
    secret: Effect.sync(() => spell(append(append(0n, random()), random()), 32))
  })

/** Identifiers that count: the same program gives the same identifiers, in every run. */
export const layerCounting: Layer.Layer<Ids> = Layer.sync(Ids, () => {
  let count = 0
  const random = () => {
    count += 1
    const bytes = new Uint8Array(10)
    new DataView(bytes.buffer).setUint32(6, count)
    return bytes
  }
  return {
    next: (prefix) => Effect.sync(() => `${prefix}_${encode(0, random())}`),
    secret: Effect.sync(() => spell(append(append(0n, random()), random()), 32))
  }
})
