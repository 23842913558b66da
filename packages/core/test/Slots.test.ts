import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import * as Setup from "../src/Setup.ts"
import * as Slots from "../src/Slots.ts"

const between = (minimum: number, maximum: number) => Schema.Int.check(Schema.isBetween({ minimum, maximum }))

/** Close enough together to meet, or close to where ports end. */
const Base = Schema.Union([between(3000, 3080), between(65_400, 65_600)])

/** Bases of services, what the slots are like, and a slot. */
const Case = Schema.Struct({
  bases: Schema.NonEmptyArray(Base).check(Schema.isMaxLength(6)),
  max: between(1, 12),
  stride: between(1, 20),
  searchRange: between(0, 30),
  slot: between(1, 12)
})

const names = ["web", "api", "db", "constructor", "web-admin", "api-debug"]

const setupOf = ({ bases, ...slots }: typeof Case.Type, more: Parameters<typeof Setup.from>[0] & object = {}) =>
  Setup.from({
    services: [{ name: "all", command: "true", ports: bases.map((base, index) => ({ name: names[index]!, base })) }],
    slots,
    ...more
  })

const simple = Setup.from({
  services: [
    { name: "web", command: "w", ports: [{ name: "web", base: 3000 }] },
    { name: "api", command: "a", ports: [{ name: "api", base: 4000 }] }
  ],
  slots: { max: 4, stride: 10, searchRange: 3 }
})
const web = { name: "web", base: 3000 }

describe("the ports of a slot", () => {
  it("are the base, a stride further for every slot", () => {
    assert.deepStrictEqual(Slots.numbers(simple, 1), { web: 3010, api: 4010 })
    assert.deepStrictEqual(Slots.numbers(simple, 4), { web: 3040, api: 4040 })
    assert.deepStrictEqual(Slots.numbers({ ...simple, fixedPorts: { api: 8080 } }, 4), { web: 3040, api: 8080 })
  })

  it("are looked for whole rounds of slots behind the nominal one, as often as the search range says", () => {
    assert.deepStrictEqual(Slots.candidates(simple, { slot: 2, port: web }), [3020, 3060, 3100, 3140])
    assert.deepStrictEqual(Slots.candidates(simple, { slot: 2, port: web, taken: new Set([3020, 3100]) }), [3060, 3140])
  })

  it("I-87 are the nominal ones alone when the slots are strict", () => {
    const strict = { ...simple, slots: { ...simple.slots, strict: true } }
    assert.deepStrictEqual(Slots.candidates(strict, { slot: 2, port: web }), [3020])
    assert.deepStrictEqual(Slots.candidates(strict, { slot: 2, port: web, taken: new Set([3020]) }), [])
  })

  it("are what was asked for by number, and nothing else", () => {
    const fixed = { ...simple, fixedPorts: { web: 8080 } }
    assert.deepStrictEqual(Slots.candidates(fixed, { slot: 2, port: web }), [8080])
    assert.deepStrictEqual(Slots.candidates(fixed, { slot: 2, port: web, taken: new Set([8080]) }), [])
    assert.deepStrictEqual(Slots.candidates({ ...simple, fixedPorts: { web: 70_000 } }, { slot: 2, port: web }), [])
  })

  it("end where ports end", () => {
    const port = { name: "web", base: 65_500 }
    assert.deepStrictEqual(Slots.candidates(simple, { slot: 2, port }), [65_520])
    assert.deepStrictEqual(Slots.candidates(simple, { slot: 4, port: { ...port, base: 65_530 } }), [])
  })

  it("do not take a number that another port of the session was asked for with", () => {
    const fixed = { ...simple, fixedPorts: { api: 3060 } }
    assert.deepStrictEqual(Slots.candidates(fixed, { slot: 2, port: web }), [3020, 3100, 3140])
  })

  it("belong to services that are called like a member of every object", () => {
    const port = { name: "constructor", base: 3000 }
    const setup = Setup.from({ services: [{ name: "constructor", command: "c", ports: [port] }] })
    assert.deepStrictEqual(Slots.numbers(setup, 1), { constructor: 3001 } as never)
    assert.strictEqual(Slots.candidates(setup, { slot: 1, port })[0], 3001)
  })

  it.prop(
    "I-87 never are nominal in another slot, or another port's own, once they are searched for",
    [Case],
    ([given]) => {
      const setup = setupOf(given)
      const declared = Setup.ports(setup)
      const nominal = new Set(
        [...Array(given.max).keys(), given.slot - 1].flatMap((index) =>
          declared.map(({ base }) => Slots.nominal(setup, base, index + 1))
        )
      )
      for (const port of declared) {
        const [first, ...others] = Slots.candidates(setup, { slot: given.slot, port })
        const own = Slots.nominal(setup, port.base, given.slot)
        const searched = first === own ? others : [first, ...others].filter((number) => number !== undefined)
        assert.isTrue(own > Slots.highest || first === own)
        assert.deepStrictEqual(
          searched.filter((number) => nominal.has(number)),
          []
        )
      }
    }
  )

  it.prop(
    "are different, ascending, possible, no more than asked for, and never taken",
    [Case, Schema.Array(Base)],
    ([given, taken]) => {
      const setup = setupOf(given)
      for (const port of Setup.ports(setup)) {
        const free = Slots.candidates(setup, { slot: given.slot, port })
        const out = new Set([...taken, ...free.filter((_, index) => index % 2 === 0)])
        const left = Slots.candidates(setup, { slot: given.slot, port, taken: out })
        assert.deepStrictEqual(
          left,
          free.filter((number) => !out.has(number))
        )
        assert.isAtMost(free.length, given.searchRange + 1)
        assert.deepStrictEqual(
          free,
          [...new Set(free)].toSorted((a, b) => a - b)
        )
        assert.isTrue(free.every((number) => number >= 1 && number <= 65_535))
      }
    }
  )

  it.prop(
    "I-87 are those of one slot only, as long as the ranges of the bases do not meet",
    [Case, between(1, 12)],
    ([given, other]) => {
      const round = given.max * given.stride
      const width = round * (given.searchRange + 2)
      // bases that are a whole range apart
      const bases = given.bases.map((_, index) => 1 + index * width) as [number, ...Array<number>]
      const setup = setupOf({ ...given, bases })
      const [mine, theirs] = [((given.slot - 1) % given.max) + 1, ((other - 1) % given.max) + 1]
      if (mine === theirs) return
      const all = (slot: number) => Setup.ports(setup).flatMap((port) => Slots.candidates(setup, { slot, port }))
      const ours = new Set(all(mine))
      assert.deepStrictEqual(
        all(theirs).filter((number) => ours.has(number)),
        []
      )
    }
  )
})
