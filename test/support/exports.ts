/** Sessions with work to take out, and looks at what arrived. */
import { join } from "node:path"
import { assert } from "@effect/vitest"
import type { Client, ExportOptions, SandboxFailure, UpResult } from "@org/sandbox-core/promise"
import { Effect } from "effect"
import { Connected, rejection } from "./client.ts"
import { query, type World } from "./sandbox.ts"
import { listing, work } from "./work.ts"

/** A session on a new branch of its own name, with work of every kind in its checkout. */
export const worked = Effect.fnUntraced(function* (name: string, repository?: string) {
  const { client, w } = yield* Connected
  const request = { repository: repository ?? w.repository, branch: name, base: "feature", provider: "local", name }
  const up: UpResult = yield* Effect.promise(() => client.up(request))
  const directory = up.worktreePath!
  work(directory)
  return { ...up, directory }
})

/** Exports, and answers what came of it. */
export const exported = Effect.fnUntraced(function* (session: string, options: Omit<ExportOptions, "session"> = {}) {
  const { client } = yield* Connected
  return yield* Effect.promise(() => client.exportSession({ session, ...options }))
})

/** What a call failed with. */
export const refused = Effect.fnUntraced(function* (code: string, call: (client: Client) => Promise<unknown>) {
  const { client } = yield* Connected
  const error = (yield* rejection(call(client))) as SandboxFailure
  assert.strictEqual(error.code, code, `${error.message}; ${error.nextStep}`)
  return error
})

/** What a commit of the repository has in it, by the files of a checkout of it. */
export const filesOf = (w: World, commit: string): ReadonlyArray<string> => {
  const directory = join(w.directory, "looked-at")
  w.git("worktree", "add", "--quiet", "--detach", directory, commit)
  const files = listing(directory)
  w.git("worktree", "remove", "--force", directory)
  return files
}

/** The files of a checkout but for empty directories, which no commit has. */
export const committable = (directory: string): ReadonlyArray<string> =>
  listing(directory).filter((line) => line !== "deep/empty/")

/** The commit that a branch is at; nothing when there is none. */
export const tip = (w: World, branch: string): string =>
  w.git("for-each-ref", "--format=%(objectname)", `refs/heads/${branch}`)

type Row = Readonly<Record<"state" | "export_lock" | "last_export" | "claim_kind", string | null>>

/** What the ledger has of a session, read from its file. */
export const row = (w: World, id: string): Row =>
  query<Row>(w.ledger, "SELECT state, export_lock, last_export, claim_kind FROM sessions WHERE id = ?", id)[0]!
