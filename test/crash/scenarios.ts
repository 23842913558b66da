/** What is killed: a command, the world it finds, and the work in that world. */
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { everything, work } from "../support/work.ts"
import { demand, rows, type Work } from "./checks.ts"
import { answerOf, told, until, type World } from "./world.ts"

export interface Scenario {
  readonly name: string
  /** Makes what the command finds, and answers the work that it must not lose. */
  readonly prepare: (w: World) => Promise<ReadonlyArray<Work>>
  /** The command; typed again with the same request id it answers what it answered before. */
  readonly command: (w: World) => ReadonlyArray<string>
  /** What must be true once the command has answered that it is done; throws otherwise. */
  readonly done?: (w: World) => void
  /** Things run in the prepared world, so that it cannot be copied. */
  readonly living?: true
  /** The one provider that it is for. */
  readonly only?: string
}

const request = ["--client-request-id", "the-one"]

const on = (w: World) => ["--provider", w.boxes.provider]

const quietly = async (w: World, ...argv: ReadonlyArray<string>) => {
  const ended = await w.run([...argv, "--json"])
  if (ended.code !== 0) throw new Error(`preparing: ${told(ended)}`)
  return answerOf(ended)
}

const up = (w: World, ...argv: ReadonlyArray<string>) => quietly(w, "up", w.app, ...on(w), "--name", "s", ...argv)

const held = (w: World): Work => {
  const row = rows(w)[0]!
  return { session: row.id, held: everything(w.boxes.checkout(w, row)!) }
}

/** Leaves work in the checkout of the world's first session. */
const works = (w: World, edit: (directory: string) => void = work): void => w.boxes.change(w, rows(w)[0]!, edit)

/** A session that is ready, with uncommitted work and a commit of its own. */
const worked = async (w: World) => {
  await up(w, "--branch", "feature")
  works(w)
  return [held(w)]
}

const stopped = async (w: World) => {
  const before = await worked(w)
  await quietly(w, "down", "s")
  return before
}

/** The first one that was saved. */
const checkpointOf = (w: World): string =>
  w.query<{ id: string }>("SELECT id FROM checkpoints ORDER BY persisted_at")[0]!.id

const none = async (w: World) => {
  await quietly(w, "list")
  return []
}

/** A port that nothing of this machine is likely to have; each world has a stretch of its own. */
const port = (w: World): number =>
  21_000 + Array.from(w.directory).reduce((sum, letter) => (sum * 31 + letter.charCodeAt(0)) % 400, 7) * 10

const serving = (w: World): void => {
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

const withService = async (w: World) => {
  serving(w)
  await quietly(w, "up", "--branch", "feature", "--name", "s", "--trust-config")
  works(w)
  return [held(w)]
}

/** The branch has what the checkout has, also what is in no commit of it. */
const exported = (w: World): void => {
  const checkout = w.boxes.checkout(w, rows(w)[0]!)!
  for (const file of ["binary", "src.txt", "committed.txt", "run.sh"]) {
    const blob = w.git("rev-parse", `out:${file}`)
    const own = w.git("hash-object", "--no-filters", join(checkout, file))
    demand(blob === own, "lost", () => `the branch out has another ${file} than the checkout`)
  }
}

export const scenarios: ReadonlyArray<Scenario> = [
  {
    name: "up/branch",
    prepare: none,
    command: (w) => ["up", w.app, "--branch", "feature", "--name", "s", ...on(w), ...request]
  },
  {
    name: "up/new",
    prepare: none,
    command: (w) => ["up", w.app, "--branch", "new", "--base", "main", "--name", "s", ...on(w), ...request]
  },
  {
    name: "up/clone",
    prepare: none,
    command: (w) => ["up", `file://${w.app}`, "--branch", "main", "--name", "s", ...on(w), ...request]
  },
  {
    name: "up/service",
    only: "local",
    prepare: async (w) => {
      serving(w)
      return []
    },
    command: () => ["up", "--branch", "feature", "--name", "s", "--trust-config", ...request]
  },
  { name: "down/dirty", prepare: worked, command: () => ["down", "s", ...request] },
  {
    name: "down/service",
    only: "local",
    prepare: withService,
    command: () => ["down", "s", ...request],
    living: true
  },
  { name: "destroy/ready", prepare: worked, command: () => ["destroy", "s", "--force", ...request] },
  { name: "destroy/stopped", prepare: stopped, command: () => ["destroy", "s", ...request] },
  { name: "resume/stopped", prepare: stopped, command: () => ["resume", "s", ...request] },
  {
    name: "resume/lost",
    prepare: async (w) => {
      const before = await stopped(w)
      w.boxes.lose(w)
      // the first one sees that it is gone, and says so
      const seen = await w.run(["resume", "s", "--json"])
      if (rows(w)[0]?.state !== "failed") throw new Error(`preparing: ${told(seen)}`)
      return before
    },
    command: () => ["resume", "s", ...request]
  },
  { name: "checkpoint/create", prepare: worked, command: () => ["checkpoint", "create", "s", ...request] },
  {
    name: "restore/earlier",
    prepare: async (w) => {
      const [first] = await worked(w)
      await quietly(w, "checkpoint", "create", "s")
      works(w, (directory) => writeFileSync(join(directory, "later.txt"), "work of the afternoon\n"))
      return [first!, held(w)]
    },
    command: (w) => ["restore", "s", checkpointOf(w), ...request]
  },
  {
    name: "up/from-checkpoint",
    prepare: async (w) => {
      const before = await worked(w)
      await quietly(w, "destroy", "s", "--force")
      return before
    },
    command: (w) => ["up", "--from-checkpoint", checkpointOf(w), "--name", "s", ...on(w), ...request]
  },
  { name: "complete/dirty", prepare: worked, command: () => ["complete", "s", ...request] },
  {
    name: "export/branch",
    prepare: worked,
    command: () => ["export", "s", "--branch", "out", "--message", "all of it", ...request],
    done: exported
  },
  {
    name: "export/clone",
    prepare: async (w) => {
      await quietly(w, "up", `file://${w.app}`, "--branch", "main", "--name", "s", ...on(w))
      works(w)
      return [held(w)]
    },
    command: () => ["export", "s", "--branch", "out", ...request],
    done: exported
  },
  {
    name: "export/patch",
    prepare: worked,
    command: (w) => ["export", "s", "--to", "patch", "--output", join(w.directory, "patches"), ...request]
  },
  {
    name: "gc/expired",
    prepare: async (w) => {
      await up(w, "--branch", "feature", "--ttl", "1s")
      works(w)
      const end = performance.now() + 1100
      await until(() => performance.now() > end, 5000)
      return [held(w)]
    },
    command: () => ["gc"]
  },
  {
    name: "gc/dead-up",
    prepare: async (w) => {
      await dead(w, "provider after provision")
      return []
    },
    command: () => ["gc"]
  }
]

/** An `up` that died at a point; which one that is, is found by passing them all in the very same world first. */
const dead = async (w: World, point: string): Promise<void> => {
  const record = join(w.directory, "points")
  const argv = ["up", w.app, "--branch", "feature", "--name", "s", ...on(w)]
  await w.run(argv, { record })
  const at = 1 + readFileSync(record, "utf8").split("\n").indexOf(point)
  w.make()
  const ended = await w.run(argv, { record, at, fault: "SIGKILL" })
  if (ended.signal !== "SIGKILL") throw new Error(`preparing: ${told(ended)}`)
}
