/** A session whose box is on another machine: nothing is begun that only that machine can finish. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { assertFailure } from "./support/contract.ts"
import { dump, query, world } from "./support/sandbox.ts"

const here = { env: { SANDBOX_HOST_ID: "host-a" } }
const elsewhere = { env: { SANDBOX_HOST_ID: "host-b" } }

describe("a session of another machine", () => {
  it.live(
    "is refused before anything of it is claimed, and can be forgotten",
    () =>
      Effect.gen(function* () {
        const w = yield* world
        const up = ["up", w.repository, "--branch", "feature", "--name", "far", "--provider", "local", "--json"]
        const made = yield* w.run(up, here)
        assert.strictEqual(made.code, 0, made.stderr)
        assert.strictEqual((yield* w.run(["checkpoint", "create", "far", "--json"], here)).code, 0)
        const commands = [
          ["down", "far"],
          ["down", "far", "--force"],
          ["destroy", "far", "--force"],
          ["destroy", "far", "--force", "--confirm-data-loss", "--no-persist"],
          ["resume", "far"],
          ["restore", "far"],
          ["checkpoint", "create", "far"],
          ["export", "far"]
        ]
        const refuse = (command: ReadonlyArray<string>) =>
          Effect.gen(function* () {
            const before = dump(w.ledger)
            const outcome = yield* w.run([...command, "--json"], elsewhere)
            const error = assertFailure(outcome, "ERR_PROVIDER_UNAVAILABLE")
            assert.strictEqual(outcome.code, 1, command.join(" "))
            assert.deepInclude(error, { retryable: false, next_step: "run the command there" })
            assert.include(error.cause, "this box is on another machine")
            assert.deepEqual(dump(w.ledger), before, command.join(" "))
          })
        yield* Effect.forEach(commands, refuse)

        assert.strictEqual((yield* w.run(["down", "far", "--json"], here)).code, 0)
        yield* Effect.forEach(
          [
            ["resume", "far"],
            ["restore", "far"],
            ["destroy", "far"],
            ["export", "far"]
          ],
          refuse
        )
        assert.strictEqual((yield* w.run(["resume", "far", "--json"], here)).code, 0)

        const forget = ["destroy", "far", "--force", "--forget", "--confirm-data-loss", "--json"]
        const forgotten = yield* w.run(forget, elsewhere)
        assert.strictEqual(forgotten.code, 0, forgotten.stdout)
        assert.deepEqual(query<{ state: string }>(w.ledger, "SELECT state FROM sessions"), [{ state: "destroyed" }])
      }).pipe(Effect.scoped),
    120_000
  )
})
