/** `sandbox list --json` in a process of its own against `node -e 0`: the built command with a ledger of 20 sessions. */
import { execFileSync } from "node:child_process"
import { existsSync } from "node:fs"
import { join, resolve } from "node:path"
import * as Ledgers from "./ledgers.ts"
import { type Comparison, pairs } from "./measure.ts"

const packageFolder = resolve(import.meta.dirname, "../packages/cli")

export const run = async (folder: string): Promise<ReadonlyArray<Comparison>> => {
  if (!existsSync(join(packageFolder, "dist/main.js"))) throw new Error("the CLI is not built; run: npm run build")
  const file = join(folder, "cold.db")
  await Ledgers.fill(file, { live: 20, ended: 0 })
  const env = {
    PATH: process.env["PATH"],
    HOME: folder,
    XDG_STATE_HOME: folder,
    NODE_COMPILE_CACHE: join(folder, "v8")
  }
  const node = (...args: ReadonlyArray<string>) => execFileSync(process.execPath, args, { env, encoding: "utf8" })
  const argv = [join(packageFolder, "bin/sandbox.js"), "list", "--json", "--ledger", file, "--principal", Ledgers.owner]
  const listed = JSON.parse(node(...argv)) as { readonly sessions: ReadonlyArray<unknown> }
  if (listed.sessions.length !== 20) throw new Error(`listed ${listed.sessions.length} sessions, not 20`)
  const measured = await pairs(
    { times: 31, warm: 3 },
    () => node(...argv),
    () => node("-e", "0")
  )
  return [{ what: "sandbox list --json, cold", against: "node -e 0", target: 2, pairs: measured }]
}
