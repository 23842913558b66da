#!/usr/bin/env node
/**
 * Proves that the invariants' tests can fail: breaks the code on purpose, in a copy, and expects each test to go red.
 *
 *   npm run red [-- 7 9 5b]     all breaks, or those of the invariants named
 */
import { spawnSync } from "node:child_process"
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync
} from "node:fs"
import { tmpdir } from "node:os"
import { basename, join, resolve } from "node:path"
import { breaks } from "./breaks.mjs"

const root = resolve(import.meta.dirname, "../..")
const copy = mkdtempSync(join(tmpdir(), "sandbox-red-"))
process.on("exit", () => rmSync(copy, { recursive: true, force: true }))

/** The tree without what is installed or built; packages link to each other inside the copy. */
const skipped = new Set(["node_modules", "dist", ".git", "coverage"])
cpSync(root, copy, { recursive: true, filter: (source) => source === root || !skipped.has(basename(source)) })
const modules = join(copy, "node_modules")
mkdirSync(join(modules, "@org"), { recursive: true })
for (const name of readdirSync(join(root, "node_modules"))) {
  if (name !== "@org" && name !== ".vite") symlinkSync(join(root, "node_modules", name), join(modules, name))
}
for (const name of readdirSync(join(root, "packages"))) {
  symlinkSync(join(copy, "packages", name), join(modules, "@org", `sandbox-${name}`))
}

const output = join(copy, "report.json")
const wanted = process.argv.slice(2)
const chosen = breaks.filter(({ invariant }) => wanted.length === 0 || wanted.includes(invariant))
let green = 0
for (const { edits, file, invariant, only, tests, why } of chosen) {
  const path = join(copy, file)
  const original = readFileSync(path, "utf8")
  let broken = original
  for (const [from, to] of edits) {
    if (broken.split(from).length !== 2)
      throw new Error(`I-${invariant}: ${file} does not hold this text once: ${from}`)
    broken = broken.replace(from, () => to)
  }
  if (edits.length === 0) throw new Error(`I-${invariant}: there is no break`)
  writeFileSync(path, broken)
  rmSync(output, { force: true })
  const run = spawnSync(
    process.execPath,
    [
      join(modules, "vitest/vitest.mjs"),
      "run",
      "--project",
      tests.project,
      tests.file,
      "-t",
      only,
      "--reporter=json",
      `--outputFile=${output}`
    ],
    {
      cwd: copy,
      encoding: "utf8",
      timeout: 45_000,
      env: { ...process.env, SANDBOX_TEST_POSTGRES: "off", SANDBOX_TEST_TIMEOUT: "15000", CI: "" }
    }
  )
  writeFileSync(path, original)
  // a broken claim can leave a test waiting for ever: no report in time is a failure too
  const report = existsSync(output) ? JSON.parse(readFileSync(output, "utf8")) : { numFailedTests: 1 }
  const red = report.numFailedTests > 0
  // a file that cannot be loaded fails no test, and proves nothing
  if (!red && report.numPassedTests === 0) {
    for (const { message, name } of report.testResults ?? []) console.log(`${name}: ${message}`)
    console.log(run.stderr.trim())
  }
  if (!red) green += 1
  console.log(
    `I-${invariant.padEnd(4)} ${red ? "red" : "STAYS GREEN"}  ${why}${red ? "" : `  (${report.numPassedTests} passed)`}`
  )
}
console.log(`${chosen.length - green} of ${chosen.length} breaks are noticed`)
process.exitCode = green === 0 ? 0 : 1
