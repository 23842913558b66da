#!/usr/bin/env node
/**
 * Proves that the invariants' tests can fail: breaks the code on purpose, in a copy, and expects each test, which is green
 * before, to go red.
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
import { breaks } from "./all.mjs"

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

/** Runs the tests of an entry in the copy. Without a report they were not done in time, or could not even begin. */
const run = ({ only, tests }, timeout) => {
  const from = performance.now()
  rmSync(output, { force: true })
  const vitest = join(modules, "vitest/vitest.mjs")
  const selection = ["--project", tests.project, tests.file, "-t", only]
  const { stderr, stdout } = spawnSync(
    process.execPath,
    [vitest, "run", ...selection, "--reporter=json", `--outputFile=${output}`],
    {
      cwd: copy,
      encoding: "utf8",
      timeout,
      maxBuffer: 2 ** 28,
      env: {
        ...process.env,
        // a server of its own costs seconds, and few breaks show on it alone
        ...(tests.postgres === true ? {} : { SANDBOX_TEST_POSTGRES: "off" }),
        // what a break shows on may be in no sample
        SANDBOX_TEST_WHOLE: "1",
        SANDBOX_TEST_TIMEOUT: "15000",
        CI: ""
      }
    }
  )
  const took = performance.now() - from
  if (!existsSync(output)) return { said: `no report in time\n${stdout}${stderr}`.trim() }
  const report = JSON.parse(readFileSync(output, "utf8"))
  const failures = (report.testResults ?? []).flatMap(({ assertionResults, message, name }) => [
    ...(message ? [`${name}: ${message}`] : []),
    ...assertionResults.flatMap(({ failureMessages, title }) => failureMessages.map((text) => `${title}: ${text}`))
  ])
  return {
    took,
    passed: report.numPassedTests,
    failed: report.numFailedTests,
    said: [...failures, stderr].join("\n").trim()
  }
}

/** What the tests of an entry say of the code as it is: each selection is run once. */
const unbroken = new Map()
const baseline = (entry) => {
  const key = JSON.stringify([entry.tests, entry.only])
  if (!unbroken.has(key)) unbroken.set(key, run(entry, 180_000))
  return unbroken.get(key)
}

const verdictOf = (entry) => {
  const { edits, file, invariant } = entry
  const path = join(copy, file)
  const original = readFileSync(path, "utf8")
  let broken = original
  for (const [from, to] of edits) {
    if (broken.split(from).length !== 2)
      throw new Error(`I-${invariant}: ${file} does not hold this text once: ${from}`)
    broken = broken.replace(from, () => to)
  }
  if (edits.length === 0) throw new Error(`I-${invariant}: there is no break`)
  // tests that fail anyway, or of which there is none, prove nothing
  const before = baseline(entry)
  if (before.failed !== 0) return { verdict: "RED UNBROKEN", ...before }
  if (before.passed === 0) return { verdict: "NO TESTS", ...before }
  writeFileSync(path, broken)
  const after = run(entry, Math.ceil(before.took) + 45_000)
  writeFileSync(path, original)
  // a broken claim can leave a test waiting for ever: as these are done in time otherwise, no report is a failure too
  if (after.failed === undefined || after.failed > 0) return { verdict: "red" }
  // a file that cannot be loaded fails no test, and proves nothing
  return { verdict: after.passed === 0 ? "DOES NOT LOAD" : "STAYS GREEN", ...after }
}

const wanted = process.argv.slice(2)
const chosen = breaks.filter(({ invariant }) => wanted.length === 0 || wanted.includes(invariant))
let noticed = 0
for (const entry of chosen) {
  const { passed, said, verdict } = verdictOf(entry)
  const isRed = verdict === "red"
  if (isRed) noticed += 1
  console.log(`I-${entry.invariant.padEnd(4)} ${verdict}  ${entry.why}${isRed ? "" : `  (${passed ?? "no"} passed)`}`)
  if (!isRed && said !== "") console.log(said.split("\n", 20).join("\n"))
}
console.log(`${noticed} of ${chosen.length} breaks are noticed`)
process.exitCode = noticed === chosen.length ? 0 : 1
