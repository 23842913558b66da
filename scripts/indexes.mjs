#!/usr/bin/env node
/**
 * Writes each package's `src/index.ts`: one namespace per module, and in core the programs by their own names.
 *
 *   node scripts/indexes.mjs [--check]
 */
import { execFileSync } from "node:child_process"
import { readdirSync, readFileSync, writeFileSync } from "node:fs"

const flat = { core: ['export * from "./programs/index.ts"'] }
const entryPoints = new Set(["index.ts", "node.ts", "promise.ts"])
/** Imported by their own paths alone: a command that reads no configuration must not build its schemas. */
const apart = new Set(["Configuration.ts", "Trust.ts"])
let stale = 0

for (const name of ["core"]) {
  const file = `packages/${name}/src/index.ts`
  const modules = readdirSync(`packages/${name}/src`).filter(
    (entry) => /^[A-Z]\w+\.ts$/.test(entry) && !entryPoints.has(entry) && !apart.has(entry)
  )
  const lines = modules.sort().map((entry) => `export * as ${entry.slice(0, -3)} from "./${entry}"`)
  // in the order in which the linter wants them
  const text = execFileSync("node_modules/.bin/biome", ["check", "--write", "--stdin-file-path", file], {
    input: `${[...lines, ...(flat[name] ?? [])].join("\n")}\n`,
    encoding: "utf8"
  })
  if (readFileSync(file, "utf8") === text) continue
  stale += 1
  if (!process.argv.includes("--check")) writeFileSync(file, text)
  else console.error(`${file} is stale; run: node scripts/indexes.mjs`)
}
process.exitCode = stale > 0 && process.argv.includes("--check") ? 1 : 0
