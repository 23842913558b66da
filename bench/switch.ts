/**
 * A session with a large dirty tree that moves between this host and a container, and back, against `tar` piped between the same
 * two places.
 *
 * A switch also halts and makes a box, clones, captures into a store with syncs and reads that back, compares what arrived, and
 * removes what it left; the pipe does none of it.
 */
import { execFileSync } from "node:child_process"
import { mkdirSync, rmSync } from "node:fs"
import { join } from "node:path"
import { createClient } from "@org/sandbox-core/promise"
import { fill } from "./checkpoint.ts"
import * as Engine from "./engine.ts"
import { type Comparison, duration } from "./measure.ts"

const tree = { files: 5000, size: 10_000, rounds: 4 }

export const run = async (folder: string): Promise<ReadonlyArray<Comparison>> => {
  if (!(await Engine.isThere())) {
    throw new Error(`there is no engine with the image ${Engine.image}: scripts/docker-images.sh makes it`)
  }
  process.env["XDG_STATE_HOME"] = join(folder, "switch-state")
  process.env["XDG_CACHE_HOME"] = join(folder, "switch-cache")
  const repository = join(folder, "switch-repository")
  mkdirSync(repository, { recursive: true })
  const git = (...args: ReadonlyArray<string>) => execFileSync("git", args, { cwd: repository })
  git("init", "--quiet", "--initial-branch=main")
  git(
    "-c",
    "user.name=bench",
    "-c",
    "user.email=bench@example.com",
    "commit",
    "--quiet",
    "--allow-empty",
    "-m",
    "first"
  )
  const client = createClient({
    providers: {
      local: { use: () => import("@org/sandbox-provider-local") },
      docker: { use: () => import("@org/sandbox-provider-docker"), options: { image: Engine.image, pull: "never" } }
    }
  })
  const session = "moving"
  const container = `sandbox-bench-${process.pid}-switch`
  const [there, back]: [Array<readonly [number, number]>, Array<readonly [number, number]>] = [[], []]
  try {
    const { worktreePath } = await client.up({
      repository,
      branch: "work",
      base: "main",
      provider: "local",
      name: session
    })
    fill(worktreePath!, tree.files, tree.size)
    await Engine.commanded("run", "-d", "--init", "--name", container, Engine.image, "sleep", "86400")
    const pipe = (command: string) => execFileSync("sh", ["-c", command], { stdio: ["ignore", "ignore", "inherit"] })
    const copy = join(folder, "switch-copy")
    for (let round = 0; round < tree.rounds; round++) {
      const { worktreePath: from } = await client.status({ session })
      const inside = `/tmp/tree-${round}`
      const piped = await duration(() =>
        pipe(
          `tar -C '${from}' --exclude=./.git -cf - . | docker exec -i ${container} sh -c 'mkdir ${inside} && tar -C ${inside} -xf -'`
        )
      )
      there.push([await duration(() => client.switchProvider({ session, to: "docker" })), piped])
      mkdirSync(copy)
      const returned = await duration(() =>
        pipe(`docker exec ${container} tar -C ${inside} -cf - . | tar -C '${copy}' -xf -`)
      )
      rmSync(copy, { recursive: true })
      back.push([await duration(() => client.switchProvider({ session, to: "local" })), returned])
    }
    const what = (way: string) => `switch ${way}, ${tree.files} files, ${(tree.files * tree.size) / 1e6} MB`
    return [
      { what: what("local to docker"), against: "tar | docker exec tar", pairs: there.slice(1) },
      { what: what("docker to local"), against: "docker exec tar | tar", pairs: back.slice(1) }
    ]
  } finally {
    await client.destroy({ session, force: true, confirmDataLoss: true }).catch(() => undefined)
    await Engine.commanded("rm", "-f", container).catch(() => undefined)
    await client.close()
    Engine.close()
  }
}
