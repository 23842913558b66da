import * as L from "./.ft3.ts"
import { createClient } from "@org/sandbox-core/promise"
const client = createClient({ providers: { local: { use: () => import("@org/sandbox-provider-local") } } })
const up = await client.up({ repository: "/tmp/fttty/app", branch: "b", base: "main", provider: "local" })
const script = process.argv[3] ?? "test -t 1 && stty size"
let bad = 0
const one = async () => { L.reset()
  const t = await client.exec({ session: up.sessionId, argv: ["sh", "-c", script], tty: { cols: 70, rows: 20 } })
  let text = ""; L.said
  for await (const { bytes } of t.output) text += new TextDecoder().decode(bytes)
  await t.exit
  L.said(); if (!text.includes("20 70\r\n")) { bad++; if (bad < 4) console.log(JSON.stringify(text), L.said()) }
}
const many = Number(process.argv[2])
for (let i = 0; i < 24; i += many) await Promise.all(Array.from({ length: many }, one))
console.log("concurrency", many, script, "bad", bad)
await client.destroy({ session: up.sessionId, force: true, confirmDataLoss: true })
await client.close()
