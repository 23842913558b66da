/** What is killed: a command, the world it finds, and the work in that world. */
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { demand, rows } from "./checks.ts"
import {
  checkpointOf,
  dies,
  kept,
  none,
  on,
  quietly,
  request,
  type Scenario,
  serving,
  stopped,
  up,
  withService,
  worked,
  works
} from "./prepare.ts"
import { switching } from "./switching.ts"
import { told, until, type World } from "./world.ts"

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
  ...switching,
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
      return [first!, kept(w)]
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
      return [kept(w)]
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
      return [kept(w)]
    },
    command: () => ["gc"]
  },
  {
    name: "gc/dead-up",
    prepare: async (w) => {
      const argv = ["up", w.app, "--branch", "feature", "--name", "s", ...on(w)]
      await dies(w, argv, `provider ${w.boxes.provider} after provision`)
      return []
    },
    command: () => ["gc"]
  }
]
