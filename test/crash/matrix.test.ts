/**
 * A sample of the crash matrix; the whole of it is `npm run crash`. Which cells it has is decided by `SANDBOX_CRASH_SEED`,
 * and how many by `SANDBOX_CRASH_CELLS` and, of those in containers, by `SANDBOX_CRASH_DOCKER_CELLS`; of switches, by
 * `SANDBOX_CRASH_SWITCH_CELLS` and `SANDBOX_CRASH_DOCKER_SWITCH_CELLS`.
 */
import { assert, describe, it } from "@effect/vitest"
import { describeDocker } from "../docker.ts"
import * as samples from "../support/sample.ts"
import { type Options, run, summary } from "./matrix.ts"
import { number } from "./number.ts"

const seed = Number(process.env["SANDBOX_CRASH_SEED"] ?? samples.seed)

const counted = (name: string, usual: number): number => number(name, process.env[name] ?? String(usual))

const count = counted("SANDBOX_CRASH_CELLS", 14)
const inDocker = counted("SANDBOX_CRASH_DOCKER_CELLS", 2)
const switches = counted("SANDBOX_CRASH_SWITCH_CELLS", 8)
const inDockerSwitches = counted("SANDBOX_CRASH_DOCKER_SWITCH_CELLS", 2)

const say = (line: string): void => void process.stderr.write(`matrix.test.ts: ${line}\n`)

/** All cells of a few points, whatever the seed. */
const whole = async (only: string, ...points: ReadonlyArray<string>) => {
  const report = await run({ seed, only, points, parallel: 1, say })
  assert.isAbove(report.tried, 0)
  assert.deepEqual(report.missed, [])
  assert.deepEqual(
    report.broken.map(({ message }) => message),
    []
  )
}

const sample = async (
  chosen: Pick<Options, "only" | "except" | "among" | "to"> & { count: number; provider: string }
) => {
  const report = await run({ seed, ...chosen, parallel: 2, say })
  const { count, only = "", provider, to } = chosen
  say(`SANDBOX_CRASH_SEED=${seed}, ${only} ${provider}${to === undefined ? "" : ` to ${to}`}: ${summary(report)}`)
  assert.deepEqual(
    report.broken.map(({ message }) => message),
    [],
    `SANDBOX_CRASH_SEED=${seed}`
  )
  assert.strictEqual(report.tried, Math.min(count, report.cells))
}

describe("the crash matrix", () => {
  it("I-33 an up that ends with a box that is in no row leaves none behind", { timeout: 120_000 }, () =>
    whole("up/branch", "provider local after provision")
  )

  it("I-34 a destroy that ends with work that is saved and not recorded loses none of it", { timeout: 120_000 }, () =>
    whole("destroy/ready", "store after publish")
  )

  it(
    "whatever meets a command at whatever point, what is recommended leaks nothing, loses nothing and gets on",
    {
      timeout: 60_000 + count * 20_000
    },
    () => sample({ count, except: "switch/", provider: "local" })
  )

  it("I-35 a switch that ends beside its ledger leaves what the table says", { timeout: 240_000 }, () =>
    whole("switch/ready#", "provider local after stop", "provider other after provision")
  )

  it(
    "whatever meets a switch, on whichever side, there is one box at most, the work is all there, and the session is who it was",
    {
      timeout: 120_000 + switches * 20_000
    },
    // what is undisturbed is run of each scenario once
    () => sample({ count: switches, only: "switch/", among: 3, provider: "local" })
  )
})

describeDocker("the crash matrix on an engine", () => {
  it(
    "whatever meets a command at whatever point, nothing that is labelled is left and no work is lost",
    {
      timeout: 300_000 + inDocker * 60_000
    },
    () => sample({ count: inDocker, except: "switch/", provider: "docker" })
  )

  it.each([
    ["docker", "local"],
    ["local", "docker"]
  ])(
    "whatever meets a switch from %s to %s, one box at most is left and no work is lost",
    {
      timeout: 300_000 + inDockerSwitches * 60_000
    },
    (provider, to) => sample({ count: Math.ceil(inDockerSwitches / 2), only: "switch/", among: 1, provider, to })
  )
})
