/** What sessions of one placement must not share: slots, and ports. */
import { Effect, Result } from "effect"
import { PortTaken, type SlotRequest, SlotsExhausted } from "../Ledger.ts"
import type { Database } from "./database.ts"
import * as Rows from "./rows.ts"

export type Placement = ReturnType<typeof make>

export const make = ({ sql }: Database) => {
  /** The columns of the lowest slot that nobody of the placement has. */
  const lowestSlot = Effect.fnUntraced(function* ({ max, scope }: SlotRequest) {
    const rows = yield* sql<Rows.Row>`SELECT * FROM sessions
      WHERE placement_scope = ${scope} AND slot IS NOT NULL ORDER BY slot`
    const taken = new Set(rows.map((row) => Number(row["slot"])))
    for (let slot = 1; slot <= max; slot++) {
      if (!taken.has(slot)) return { placement_scope: scope, slot }
    }
    // one that cannot be read holds its slot all the same, and hides no other
    const holders = rows.map(Rows.toSession).filter(Result.isSuccess)
    return yield* new SlotsExhausted({ max, holders: holders.map(({ success }) => success) })
  })

  /** Gives the session these ports instead of those it had. */
  const assignPorts = Effect.fnUntraced(function* (row: Rows.Row, ports: Readonly<Record<string, number>> | null) {
    const [id, scope] = [row["id"], row["placement_scope"]]
    yield* sql`DELETE FROM ports WHERE session_id = ${id}`
    // inside a box of its own every number is free
    if (scope === null) return
    // in one order for all: writers of the same ports would wait for each other in a circle
    const wanted = Object.values(ports ?? {}).toSorted((a, b) => a - b)
    if (wanted.length === 0) return
    const taken = yield* sql<{ readonly port: unknown }>`SELECT port FROM ports
      WHERE ${sql.and([sql`scope = ${scope}`, sql.in("port", wanted)])}`
    if (taken.length > 0) return yield* new PortTaken({ ports: taken.map(({ port }) => Number(port)) })
    for (const port of wanted) yield* sql`INSERT INTO ports ${sql.insert({ scope, port, session_id: id })}`
  })

  return { lowestSlot, assignPorts }
}
