/**
 * Samples of what happens to sessions whose engine is restarted, killed, paused or cut off, and to those whose `up`, `down`
 * and `switch` are killed again and again. The whole of it is `npm run crash` and `npm run soak` with `--provider docker --engine own`, and
 * `npm run soak -- --provider docker --kills 200`; which part is tried here is decided by `SANDBOX_CRASH_SEED`.
 */
import { assert, it } from "@effect/vitest"
import { describe } from "vitest"
import { describeDocker, hasDocker } from "../docker.ts"
import { obstacle } from "../support/ownEngine.ts"
import { random, seed as seedOfRun, shuffled, times } from "../support/sample.ts"
import { inWorld } from "./inWorld.ts"
import { Kills } from "./kills.ts"
import { type Options, run, summary } from "./matrix.ts"
import { Soak } from "./rounds.ts"
import { scenarios } from "./scenarios.ts"

const seed = Number(process.env["SANDBOX_CRASH_SEED"] ?? seedOfRun)

const say = (line: string): void => void process.stderr.write(`engine.test.ts: SANDBOX_CRASH_SEED=${seed}, ${line}\n`)

const why = hasDocker ? obstacle() : "there is no engine to take images from"

if (why !== undefined && (process.env["SANDBOX_TEST_REQUIRE"] ?? "").split(",").includes("docker")) {
  throw new Error(`SANDBOX_TEST_REQUIRE names docker, but ${why}`)
}

/** Cells of the matrix in which something happens to the engine; none of them may break. */
const cells = async (count: number, chosen: Pick<Options, "only" | "points" | "fault" | "without">) => {
  const report = await run({ seed, count, ...chosen, provider: "docker", engine: "own", parallel: 1, say })
  say(`${chosen.only}: ${summary(report)}`)
  assert.deepEqual(
    report.broken.map(({ message }) => message),
    []
  )
  assert.strictEqual(report.tried, count)
  // one of a sample need not come to its point every time
  if (chosen.points !== undefined) assert.deepEqual(report.missed, [])
}

/** A run in a world of its own, which tells what led to its failure. */
const within = <A extends Soak | Kills>(
  engine: "own" | undefined,
  count: number,
  make: (...place: ConstructorParameters<typeof Soak>) => A
): Promise<A> =>
  inWorld({ provider: "docker", engine }, async (w, own) => {
    const made = make(w, random(seed), own)
    const told = () => JSON.stringify(made.figures)
    const done = await made
      .run(count, () => {})
      .catch((error: unknown) => {
        say(`${told()}\n${made.story()}`)
        throw error
      })
    say(`${told()}: ${done}`)
    return made
  })

describe.skipIf(why !== undefined)(
  `an engine that does not stay${why === undefined ? "" : ` (skipped: ${why})`}`,
  () => {
    it("a box that halted with its engine is brought up again, and has all of its work", { timeout: 300_000 }, () =>
      cells(1, { only: "checkpoint/create", points: ["provider docker after files.read"], fault: "restart" })
    )

    it("a box whose engine cannot be reached is not taken for gone", { timeout: 300_000 }, () =>
      cells(1, { only: "resume/stopped#", points: ["provider docker before inspect"], fault: "unreachable" })
    )

    it(
      "a box that halts with its engine while it is brought up is no refusal, and comes up next time",
      { timeout: 300_000 },
      () => cells(1, { only: "resume/stopped#", points: ["provider docker after files.read"], fault: "restart" })
    )

    it("whatever happens to it at whatever point of a command, what is recommended gets on", {
      timeout: 300_000
    }, () => {
      const tried = scenarios.filter(({ only = "docker", switches }) => only === "docker" && switches !== true)
      // the runtime takes it a quarter of a minute each time
      return cells(times(3, 1), { only: `${shuffled(tried, seed)[0]!.name}#`, without: "runtime" })
    })

    it("rounds of commands leak nothing and lose nothing while it comes and goes", { timeout: 300_000 }, async () => {
      const { figures } = await within("own", times(8, 5), (w, next, engine) => new Soak(w, next, engine))
      assert.isAbove(figures.disturbed, 0)
    })
  }
)

const kills = times(8, 5)

describeDocker("killing up, down and switch", () => {
  it("one gc puts right what they leave, and nothing that is labelled outlives its session", {
    timeout: 300_000
  }, async () => {
    const { figures } = await within(undefined, kills, (w, next) => new Kills(w, next))
    assert.propertyVal(figures, "killed", kills)
  })
})
