/** Halting and destroying boxes: what runs in them hears of it and has time, and nobody waits longer than for that. */
import { assert, it } from "@effect/vitest"
import { Duration, Effect } from "effect"
import { describeDocker } from "../../../test/docker.ts"
import * as Docker from "../../../test/support/docker.ts"
import { docker, newLedger, on, run, sh } from "./boxes.ts"

const newBox = Effect.fnUntraced(function* (image: string) {
  return yield* (yield* docker).provision((yield* newLedger).intent({ spec: { image } }))
})

/** Runs in a session of its own, as services do. */
const detached = (script: string) =>
  `setsid sh -c '${script}' >/dev/null 2>&1 </dev/null & while [ ! -e ready ]; do sleep 0.1; done`

/** How long something took; far from the grace that what hears nothing is given, on a machine that is busy as well. */
const soon = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.timed(effect), ([took]) => assert.isBelow(Duration.toMillis(took), 4000))

describeDocker("a halt", () => {
  for (const image of [Docker.images.base, Docker.images.git]) {
    it.live(`of a box of ${image} lets services end as they want, and keeps what they write then`, () =>
      Effect.gen(function* () {
        const { inspect, start, stop } = yield* docker
        const ref = yield* newBox(image)
        const service = 'trap "sleep 1; echo saved >on-term; exit 0" TERM; echo >ready; while :; do sleep 0.1; done'
        yield* sh(ref, detached(service))
        yield* stop(ref)
        assert.deepStrictEqual(yield* inspect(ref), { _tag: "stopped" })
        yield* start(ref)
        assert.strictEqual(yield* sh(ref, "cat on-term"), "saved")
      }).pipe(on())
    )

    it.live(`of a box of ${image} whose processes end at once takes no longer than that`, () =>
      Effect.gen(function* () {
        const { inspect, stop } = yield* docker
        const empty = yield* newBox(image)
        yield* soon(stop(empty))
        assert.deepStrictEqual(yield* inspect(empty), { _tag: "stopped" })
        const busy = yield* newBox(image)
        yield* sh(busy, detached("echo >ready; exec sleep 600"))
        yield* soon(stop(busy))
        assert.deepStrictEqual(yield* inspect(busy), { _tag: "stopped" })
      }).pipe(on())
    )
  }

  it.live("ends a box that hears nothing, after a while", () =>
    Effect.gen(function* () {
      const { inspect, start, stop } = yield* docker
      const ref = yield* newBox(Docker.images.base)
      yield* sh(ref, detached('trap "" TERM; echo >ready; while :; do sleep 0.1; done'))
      yield* stop(ref)
      assert.deepStrictEqual(yield* inspect(ref), { _tag: "stopped" })
      yield* start(ref)
      assert.strictEqual((yield* run(ref, ["true"])).code, 0)
    }).pipe(on())
  )
})

describeDocker("a removal", () => {
  it.live("waits for nothing that runs", () =>
    Effect.gen(function* () {
      const { destroy } = yield* docker
      const ledger = yield* newLedger
      const ref = yield* (yield* docker).provision(ledger.intent())
      yield* sh(ref, detached('trap "" TERM; echo >ready; while :; do sleep 0.1; done'))
      yield* soon(destroy(ref))
      assert.deepStrictEqual(yield* ledger.made, Docker.nothing)
    }).pipe(on())
  )
})
