/** What a command of the matrix finds, and how that is made. */
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { work } from "../support/work.ts"
import { rows } from "./checks.ts"
import { held, type Work } from "./held.ts"
import { answerOf, told, type World } from "./world.ts"

export interface Scenario {
  readonly name: string
  /** Makes what the command finds, and answers the work that it must not lose. */
  readonly prepare: (w: World) => Promise<ReadonlyArray<Work>>
  /** The command; typed again with the same request id it answers what it answered before. */
  readonly command: (w: World) => ReadonlyArray<string>
  /** What must be true once the command has answered that it is done; throws otherwise. */
  readonly done?: (w: World) => void
  /** How it ends when nothing happens to it: with 0, when absent. */
  readonly ends?: 1 | 2
  /** Calls of a provider that are refused each time while it runs, such as `provider local stop`. */
  readonly refused?: (w: World) => ReadonlyArray<string>
  /** It needs another provider, and goes there. */
  readonly switches?: true
  /** What a kill or an interruption of it leaves is compared with the table of `left.ts`. */
  readonly isTold?: true
  /** Things run in the prepared world, so that it cannot be copied. */
  readonly living?: true
  /** The one provider that it is for. */
  readonly only?: string
}

export const request = ["--client-request-id", "the-one"]

export const on = (w: World) => ["--provider", w.boxes.provider]

export const quietly = async (w: World, ...argv: ReadonlyArray<string>) => {
  const ended = await w.run([...argv, "--json"])
  if (ended.code !== 0) throw new Error(`preparing: ${told(ended)}`)
  return answerOf(ended)
}

export const up = (w: World, ...argv: ReadonlyArray<string>) =>
  quietly(w, "up", w.app, ...on(w), "--name", "s", ...argv)

/** The work that the checkout of the world's first session holds. */
export const kept = (w: World): Work => {
  const row = rows(w)[0]!
  return { session: row.id, held: held(w.boxes.checkout(w, row)!) }
}

/** Leaves work in the checkout of the world's first session. */
export const works = (w: World, edit: (directory: string) => void = work): void => w.boxes.change(w, rows(w)[0]!, edit)

/** A session that is ready, with uncommitted work and a commit of its own. */
export const worked = async (w: World) => {
  await up(w, "--branch", "feature")
  works(w)
  return [kept(w)]
}

export const stopped = async (w: World) => {
  const before = await worked(w)
  await quietly(w, "down", "s")
  return before
}

/** The first one that was saved. */
export const checkpointOf = (w: World): string =>
  w.query<{ id: string }>("SELECT id FROM checkpoints ORDER BY persisted_at")[0]!.id

export const none = async (w: World) => {
  await quietly(w, "list")
  return []
}

/** A port that nothing of this machine is likely to have; each world has a stretch of its own. */
const port = (w: World): number =>
  21_000 + Array.from(w.directory).reduce((sum, letter) => (sum * 31 + letter.charCodeAt(0)) % 400, 7) * 10

export const serving = (w: World): void => {
  writeFileSync(
    join(w.app, "sandbox.yaml"),
    `provider: local
services:
  - name: web
    command:
      - node
      - -e
      - require("node:http").createServer((_, r) => r.end("up")).listen(process.env.PORT, "127.0.0.1")
    port: ${port(w)}
    health: /
hooks:
  post_up: echo made > from-hook.log
`
  )
}

export const withService = async (w: World) => {
  serving(w)
  await quietly(w, "up", "--branch", "feature", "--name", "s", "--trust-config")
  works(w)
  return [kept(w)]
}

/** A command that died at the first point of a name. */
export const dies = async (w: World, argv: ReadonlyArray<string>, at: string): Promise<void> => {
  const ended = await w.run(argv, { record: join(w.directory, "points"), at, fault: "SIGKILL" })
  if (ended.signal !== "SIGKILL") throw new Error(`preparing: ${told(ended)}`)
}
