/**
 * Which numbers the ports of a session may have: arithmetic of its slot, and of nothing else.
 *
 * Every port has a nominal number in every slot. A port that moves away from its own never takes one that is nominal in
 * another slot, so that a session's place is never taken by one that was there first.
 */
import * as Setup from "./Setup.ts"

/** The highest number of a TCP port. */
export const highest = 65_535

/** The number that a port has in a slot when nothing is in its way. */
export const nominal = ({ slots }: Pick<Setup.Setup, "slots">, base: number, slot: number): number =>
  base + slot * slots.stride

/**
 * Whether a session's ports are those of its host, which it needs a slot for; without, it listens in its box, or beside that. A
 * session that has left its host for another provider keeps its slot there.
 */
export const isOnHost = ({
  instance,
  placementScope,
  slot
}: {
  readonly slot: number | null
  readonly placementScope: string | null
  readonly instance: { readonly scope: string } | null
}): boolean => slot !== null && (instance === null || instance.scope === placementScope)

/** A number by its port's name, which may be that of a member that every object has. */
export const numberOf = (numbers: Readonly<Record<string, number>>, name: string): number | undefined =>
  Object.hasOwn(numbers, name) ? numbers[name] : undefined

/** The nominal numbers of a slot, by name; one that was asked for by number is that number. */
export const numbers = (setup: Setup.Setup, slot: number): Readonly<Record<string, number>> =>
  Object.fromEntries(
    Setup.ports(setup).map(({ base, name }) => [name, numberOf(setup.fixedPorts, name) ?? nominal(setup, base, slot)])
  )

export interface Wanted {
  readonly slot: number
  readonly port: Pick<Setup.Port, "name" | "base">
  /** Numbers that are out of the question. */
  readonly taken?: ReadonlySet<number> | undefined
}

/**
 * The numbers to try for a port, the best first; none, when there is no number that it may have.
 *
 * They are the nominal one and those that lie whole rounds of slots behind it. A port that was asked for by number has
 * that one only, and with `strict` there is the nominal one only.
 */
export const candidates = (setup: Setup.Setup, wanted: Wanted): ReadonlyArray<number> => {
  const { port, slot, taken } = wanted
  const isPossible = (number: number) => number >= 1 && number <= highest && taken?.has(number) !== true
  const fixed = numberOf(setup.fixedPorts, port.name)
  if (fixed !== undefined) return [fixed].filter(isPossible)
  const own = nominal(setup, port.base, slot)
  return [own, ...further(setup, wanted).filter((number) => !isNominal(setup, slot, number))].filter(isPossible)
}

const further = ({ slots }: Setup.Setup, { port, slot }: Wanted): ReadonlyArray<number> => {
  const { max, searchRange, strict, stride } = slots
  const round = max * stride
  const found: Array<number> = []
  if (strict || round <= 0) return found
  for (let i = 1; i <= searchRange; i++) {
    const number = nominal({ slots }, port.base, slot) + i * round
    if (number > highest) break
    found.push(number)
  }
  return found
}

/** Whether some port of the setup has this number in this slot or any other. */
const isNominal = (setup: Setup.Setup, slot: number, number: number): boolean =>
  Setup.ports(setup).some(({ base, name }) => {
    const { max, stride } = setup.slots
    const steps = (number - base) / stride
    const inSlot = Number.isInteger(steps) && ((steps >= 1 && steps <= max) || steps === slot)
    return inSlot || numberOf(setup.fixedPorts, name) === number
  })
