/** What holds while a session is exported by another process, and what an export leaves that was cut short. */
import { execSync } from "node:child_process"
import { chmodSync, existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { assert, layer } from "@effect/vitest"
import type { Client } from "@org/sandbox-core/promise"
import { Effect } from "effect"
import type { Answer } from "./support/Answer.ts"
import { Connected, collected } from "./support/client.ts"
import { committable, exported, filesOf, refused, row, tip, worked } from "./support/exports.ts"
import { heldGit } from "./support/heldGit.ts"
import { query } from "./support/sandbox.ts"

const free = { state: "ready", export_lock: null, last_export: null, claim_kind: null }

/** Types the command that a failure names for going on by hand. */
const typed = (nextStep: string, options: Parameters<typeof execSync>[1]): void => {
  const command = /by hand it is `([^`]+)`/.exec(nextStep)?.[1]
  assert.isDefined(command, nextStep)
  execSync(command!, { ...options, stdio: "pipe" })
}

const contenders: Readonly<Record<string, (client: Client, session: string) => Promise<unknown>>> = {
  destroy: (client, session) => client.destroy({ session }),
  "destroy --force": (client, session) => client.destroy({ session, force: true, confirmDataLoss: true }),
  "destroy --forget": (client, session) =>
    client.destroy({ session, force: true, forget: true, confirmDataLoss: true }),
  "destroy --no-persist": (client, session) =>
    client.destroy({ session, force: true, noPersist: true, confirmDataLoss: true }),
  down: (client, session) => client.down({ session }),
  "down --force": (client, session) => client.down({ session, force: true }),
  complete: (client, session) => client.complete({ session }),
  extend: (client, session) => client.extend({ session, ttl: null }),
  checkpoint: (client, session) => client.checkpoint({ session }),
  restore: (client, session) => client.restore({ session }),
  export: (client, session) => client.exportSession({ session, branch: "out/other", force: true })
}

layer(Connected.layer, { excludeTestServices: true })("a session that is exported", (it) => {
  it.effect("I-60 is moved by nobody, whatever is forced, and can be worked in", () =>
    Effect.gen(function* () {
      const { client, w } = yield* Connected
      const { directory, sessionId } = yield* worked("held")
      yield* Effect.promise(() => client.checkpoint({ session: "held" }))
      const git = heldGit(w, { hold: "push --porcelain" })
      const running = yield* w.start(["export", "held", "--json"], { env: git.env })
      yield* git.held()
      const lock = JSON.parse(row(w, sessionId).export_lock!) as {
        readonly branch: string
        readonly leaseUntil: number
      }
      assert.strictEqual(lock.branch, "sandbox/held")
      assert.isAbove(lock.leaseUntil, Date.now())
      const versions = () =>
        query<object>(
          w.ledger,
          `SELECT version, state, (SELECT count(*) FROM events) AS events, (SELECT count(*) FROM operations) AS operations,
            (SELECT count(*) FROM checkpoints) AS checkpoints FROM sessions WHERE id = ?`,
          sessionId
        )
      const before = versions()
      for (const [name, contender] of Object.entries(contenders)) {
        const error = yield* refused("ERR_EXPORT_IN_PROGRESS", (client) => contender(client, "held"))
        assert.deepInclude(error, { sessionId, state: "ready", retryable: true }, name)
      }
      const { actions } = yield* Effect.promise(() => client.gc())
      assert.deepEqual(
        actions.filter((action) => action.sessionId === sessionId && action.outcome === "done"),
        []
      )
      assert.deepEqual(versions(), before)
      const inside = yield* Effect.promise(() => client.exec({ session: "held", argv: ["cat", "committed.txt"] }))
      assert.strictEqual((yield* collected(inside.output))[1], "in a commit of its own\n")
      git.open()
      const outcome = yield* running.ended
      git.remove()
      assert.strictEqual(outcome.code, 0, outcome.stderr)
      const { commit } = outcome.json() as Answer & { readonly commit: string }
      assert.strictEqual(tip(w, "sandbox/held"), commit)
      assert.deepInclude(row(w, sessionId), { state: "ready", export_lock: null, claim_kind: null })
      assert.isTrue(existsSync(directory))
    })
  )

  it.effect("I-61 and failed is free again, has no last export, and can be exported by hand", () =>
    Effect.gen(function* () {
      const { w } = yield* Connected
      const { directory, sessionId } = yield* worked("failing")
      const hook = join(w.repository, ".git/hooks/pre-receive")
      mkdirSync(dirname(hook), { recursive: true })
      writeFileSync(hook, "#!/bin/sh\necho no exports today >&2\nexit 1\n")
      chmodSync(hook, 0o755)
      const error = yield* Effect.ensuring(
        refused("ERR_EXPORT_FAILED", (client) => client.exportSession({ session: "failing" })),
        Effect.sync(() => rmSync(hook))
      )
      assert.include(error.message, "pre-receive hook declined")
      assert.deepInclude(row(w, sessionId), free)
      assert.strictEqual(tip(w, "sandbox/failing"), "")
      typed(error.nextStep, { cwd: w.directory, env: w.env })
      assert.deepEqual(filesOf(w, "sandbox/failing"), committable(directory))
      assert.isTrue((yield* exported("failing")).already)
    })
  )

  it.effect("I-61 from a URL that refuses it can be exported by hand, too", () =>
    Effect.gen(function* () {
      const { w } = yield* Connected
      const { directory, sessionId } = yield* worked("refusing", w.url)
      const hook = join(w.repository, ".git/hooks/update")
      writeFileSync(hook, "#!/bin/sh\nexit 1\n")
      chmodSync(hook, 0o755)
      const error = yield* Effect.ensuring(
        refused("ERR_EXPORT_FAILED", (client) => client.exportSession({ session: "refusing" })),
        Effect.sync(() => rmSync(hook))
      )
      assert.deepInclude(row(w, sessionId), free)
      typed(error.nextStep, { cwd: w.directory, env: w.env })
      assert.deepEqual(filesOf(w, "sandbox/refusing"), committable(directory))
    })
  )

  it.effect("I-61 and interrupted is free again, has no last export, and is exported by the next one", () =>
    Effect.gen(function* () {
      const { w } = yield* Connected
      const { sessionId } = yield* worked("interrupted")
      const git = heldGit(w, { hold: "push --porcelain" })
      const running = yield* w.start(["export", "interrupted", "--json"], { env: git.env })
      yield* git.held()
      assert.isNotNull(row(w, sessionId).export_lock)
      running.signal("SIGINT")
      assert.strictEqual((yield* running.ended).code, 130)
      git.remove()
      assert.deepInclude(row(w, sessionId), free)
      assert.strictEqual(tip(w, "sandbox/interrupted"), "")
      const { commit } = yield* exported("interrupted")
      assert.strictEqual(tip(w, "sandbox/interrupted"), commit)
    })
  )

  it.effect("I-61 I-66 and killed is held until the lease is over, but for another export", () =>
    Effect.gen(function* () {
      const { w } = yield* Connected
      const { sessionId } = yield* worked("killed")
      const git = heldGit(w, { hold: "push --porcelain" })
      const running = yield* w.start(["export", "killed", "--json"], { env: git.env })
      yield* git.held()
      running.signal("SIGKILL")
      yield* running.ended
      git.remove()
      const scratch = () => readdirSync(join(w.state, "exports", sessionId)).filter((name) => name.startsWith("."))
      assert.lengthOf(scratch(), 1)
      assert.isNotNull(row(w, sessionId).export_lock)
      assert.isNull(row(w, sessionId).last_export)
      yield* refused("ERR_EXPORT_IN_PROGRESS", (client) =>
        client.destroy({ session: "killed", force: true, confirmDataLoss: true })
      )
      const { commit } = yield* exported("killed")
      assert.strictEqual(tip(w, "sandbox/killed"), commit)
      const after = row(w, sessionId)
      assert.deepInclude(after, { state: "ready", export_lock: null, claim_kind: null })
      assert.include(after.last_export!, commit)
      assert.deepEqual(scratch(), [], "what the killed one left is gone, and so is the other's")
    })
  )
})
