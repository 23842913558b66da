/** Identifiers: 48 bits of time, then 80 random bits, so that they sort by age and never repeat. */
import { Context, Effect, Layer } from "effect"
import * as Time from "./Time.ts"

/** Kinds of identifier, by the prefix they carry. */
export type Prefix = "sbx" | "op" | "clm" | "orp" | "ckp" | "ldg"

export class Ids extends Context.Service<
  Ids,
  {
    /** A fresh identifier such as `sbx_01k9…`: lower case, 26 characters after the prefix. */
    readonly next: (prefix: Prefix) => Effect.Effect<string>
  }
>()("@org/sandbox-core/Ids") {}

const alphabet = "0123456789abcdefghjkmnpqrstvwxyz"

const encode = (time: number, random: Uint8Array): string => {
  let bits = BigInt(time)
  for (const byte of random) bits = (bits << 8n) | BigInt(byte)
  let text = ""
  for (let i = 0; i < 26; i++) {
    text = alphabet[Number(bits & 31n)] + text
    bits >>= 5n
  }
  return text
}

/** Identifiers from a source of 10 random bytes and the clock. */
export const layer = (random: () => Uint8Array): Layer.Layer<Ids> =>
  Layer.succeed(Ids)({
    next: (prefix) => Effect.map(Time.millis, (now) => `${prefix}_${encode(now, random())}`)
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
  return { next: (prefix) => Effect.sync(() => `${prefix}_${encode(0, random())}`) }
})
