/**
 * Sessions on a Docker engine, in a warm process, against raw calls of the engine's API and against the docker command: up,
 * exec and destroy in turn, bursts of them, and the memory that a large output takes.
 *
 * A session is more than a container: a volume, a network, limits that are looked up, a clone of its repository, a ledger. It is
 * held against the container alone as well as against raw calls for the same parts.
 */
import { execFileSync } from "node:child_process"
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { createClient } from "@org/sandbox-core/promise"
import * as Engine from "./engine.ts"
import { type Comparison, duration, pairs } from "./measure.ts"

const label = (n: number) => `sandbox-bench-${process.pid}-${n}`

export const run = async (folder: string): Promise<ReadonlyArray<Comparison>> => {
  if (!(await Engine.isThere())) {
    throw new Error(`there is no engine with the image ${Engine.image}: scripts/docker-images.sh makes it`)
  }
  process.env["XDG_STATE_HOME"] = join(folder, "docker-state")
  process.env["XDG_CACHE_HOME"] = join(folder, "docker-cache")
  const repository = join(folder, "docker-repository")
  prepare(repository)
  const files = execFileSync("tar", ["-c", "-C", repository, "."], { maxBuffer: 2 ** 28 })
  const client = createClient({
    providers: {
      docker: {
        use: () => import("@org/sandbox-provider-docker"),
        options: { image: Engine.image, pull: "never" }
      }
    }
  })
  const up = (name: string) => client.up({ repository, branch: "main", provider: "docker", name })
  const destroy = (session: string) => client.destroy({ session, force: true, confirmDataLoss: true })
  const exec = async (session: string, argv: ReadonlyArray<string>) => {
    const command = await client.exec({ session, argv: [...argv] })
    let bytes = 0
    for await (const chunk of command.output) bytes += chunk.bytes.length
    await command.exit
    return bytes
  }
  let count = 0
  const next = () => label(count++)

  try {
    const comparisons: Array<Comparison> = []
    const turns = { times: 9, warm: 2 }
    for (const [against, begin, end] of [
      ["volume, network, create, start, copy in", Engine.upLikewise, Engine.downLikewise],
      ["create, start, copy in", Engine.up, Engine.down],
      [
        "docker run -d, docker cp",
        async (name: string) => {
          await Engine.commanded("run", "-d", "--init", "--name", name, Engine.image, "sleep", "86400")
          await Engine.commanded("cp", repository, `${name}:/tmp`)
        },
        (name: string) => Engine.commanded("rm", "-f", name)
      ]
    ] as const) {
      const [ours, theirs]: [Array<string>, Array<string>] = [[], []]
      const made = await pairs(
        turns,
        async () => {
          ours.push(next())
          await up(ours.at(-1)!)
        },
        async () => {
          theirs.push(next())
          await begin(theirs.at(-1)!, files)
        }
      )
      comparisons.push({ what: "up", against, pairs: made, ...(begin === Engine.up ? { target: 1.15 } : {}) })
      if (begin === Engine.upLikewise) comparisons.push(...(await executed(exec, ours[0]!, theirs[0]!)))
      const removed = await pairs(
        turns,
        () => destroy(ours.pop()!),
        () => end(theirs.pop()!)
      )
      const removal =
        begin === Engine.up ? { against: "forced removal", target: 1.3 } : { against: `the end of ${against}` }
      comparisons.push({ what: "destroy", ...removal, pairs: removed })
    }
    for (const size of [1, 4, 16]) {
      const names = () => Array.from({ length: size }, next)
      const burst: Array<readonly [number, number]> = []
      for (let turn = 0; turn < 3; turn++) {
        const [ours, theirs] = [names(), names()]
        // the engine has addresses for some thirty networks: one side goes before the other comes
        const first = await duration(() => Promise.all(ours.map(up)))
        await Promise.all(ours.map(destroy))
        const second = await duration(() => Promise.all(theirs.map((name) => Engine.upLikewise(name, files))))
        await Promise.all(theirs.map(Engine.downLikewise))
        burst.push([first, second])
      }
      comparisons.push({ what: `up, ${size} at once`, against: "the same parts, raw", pairs: burst })
    }
    return comparisons
  } finally {
    await client.close()
    Engine.close()
  }
}

const executed = async (
  exec: (session: string, argv: ReadonlyArray<string>) => Promise<number>,
  ours: string,
  theirs: string
): Promise<ReadonlyArray<Comparison>> => {
  const turns = { times: 30, warm: 5 }
  const quick = ["true"]
  const large = ["sh", "-c", "dd if=/dev/zero bs=1048576 count=100 2>/dev/null"]
  const raw = await pairs(
    turns,
    () => exec(ours, quick),
    () => Engine.exec(theirs, quick)
  )
  const command = await pairs(
    turns,
    () => exec(ours, quick),
    () => Engine.commanded("exec", theirs, ...quick)
  )
  const hundred = await pairs(
    { times: 3, warm: 1 },
    () => exec(ours, large),
    () => Engine.exec(theirs, large)
  )
  return [
    { what: "exec true", against: "exec create, start, inspect", target: 1.2, pairs: raw },
    { what: "exec true", against: "docker exec", pairs: command },
    { what: "exec, 100 MB of output", against: "exec create, start, inspect", pairs: hundred },
    {
      what: "exec, 100 MB of output, memory that is held more",
      against: "of one that prints nothing",
      unit: "MB",
      pairs: [[await growth(() => exec(ours, large)), await growth(() => exec(ours, quick))]]
    }
  ]
}

/** How much larger this process gets at most meanwhile, in megabytes; at least one. */
const growth = async (work: () => Promise<unknown>): Promise<number> => {
  const before = process.memoryUsage.rss()
  let most = before
  const timer = setInterval(() => {
    most = Math.max(most, process.memoryUsage.rss())
  }, 5)
  await work().finally(() => clearInterval(timer))
  return Math.max(1, (most - before) / 2 ** 20)
}

const prepare = (repository: string): void => {
  mkdirSync(repository, { recursive: true })
  const git = (...args: ReadonlyArray<string>) =>
    execFileSync("git", ["-C", repository, "-c", "user.name=b", "-c", "user.email=b@example.com", ...args])
  git("init", "--quiet", "--initial-branch=main")
  for (let n = 0; n < 50; n++) writeFileSync(join(repository, `file-${n}`), "x".repeat(1000 * (n + 1)))
  git("add", "--all")
  git("commit", "--quiet", "-m", "first")
}
