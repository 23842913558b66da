/**
 * A sample of the crash matrix; the whole of it is `npm run crash`. Which cells it has is decided by `SANDBOX_CRASH_SEED`,
 * and how many by `SANDBOX_CRASH_CELLS` and, of those in containers, by `SANDBOX_CRASH_DOCKER_CELLS`.
 */
import { assert, describe, it } from "@effect/vitest"
import { describeDocker } from "../docker.ts"
import { run, summary } from "./matrix.ts"
import { number } from "./number.ts"

const seed = Number(process.env["SANDBOX_CRASH_SEED"] ?? (performance.timeOrigin % 1_000_000) | 0)
const count = number("SANDBOX_CRASH_CELLS", process.env["SANDBOX_CRASH_CELLS"] ?? "60")

const inDocker = number("SANDBOX_CRASH_DOCKER_CELLS", process.env["SANDBOX_CRASH_DOCKER_CELLS"] ?? "8")

const say = (line: string): void => void process.stderr.write(`matrix.test.ts: ${line}\n`)

/** All cells of a few points, whatever the seed. */
const whole = async (only: string, point: string) => {
  const report = await run({ seed, only, point, parallel: 1, say })
  assert.isAbove(report.tried, 0)
  assert.deepEqual(report.missed, [])
  assert.deepEqual(
    report.broken.map(({ message }) => message),
    []
  )
}

const sample = async (count: number, provider: string) => {
  const report = await run({ seed, count, provider, parallel: 2, say })
  say(`SANDBOX_CRASH_SEED=${seed}, ${provider}: ${summary(report)}`)
  assert.deepEqual(
    report.broken.map(({ message }) => message),
    [],
    `SANDBOX_CRASH_SEED=${seed}`
  )
  assert.strictEqual(report.tried, Math.min(count, report.cells))
}

describe("the crash matrix", () => {
  it("I-33 an up that ends with a box that is in no row leaves none behind", { timeout: 120_000 }, () =>
    whole("up/branch", "provider after provision")
  )

  it("I-34 a destroy that ends with work that is saved and not recorded loses none of it", { timeout: 120_000 }, () =>
    whole("destroy/ready", "store after publish")
  )

  it(
    "whatever meets a command at whatever point, what is recommended leaks nothing, loses nothing and gets on",
    {
      timeout: 60_000 + count * 20_000
    },
    () => sample(count, "local")
  )
})

describeDocker("the crash matrix on an engine", () => {
  it(
    "whatever meets a command at whatever point, nothing that is labelled is left and no work is lost",
    {
      timeout: 300_000 + inDocker * 60_000
    },
    () => sample(inDocker, "docker")
  )
})
