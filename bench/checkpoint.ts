/**
 * `checkpoint` and `restore` of files that are in no commit, against `tar | zstd -1` of the same tree and back, in time and in
 * peak memory.
 *
 * A checkpoint also syncs, records and reads back what it stored; the pipe does none of it.
 */
import { execFileSync, fork, spawn, spawnSync } from "node:child_process"
import { createHash } from "node:crypto"
import { once } from "node:events"
import { mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs"
import { platform } from "node:os"
import { join } from "node:path"
import type { Comparison } from "./measure.ts"
import * as Memory from "./memory.ts"
import type { Answer, Question } from "./saver.ts"

interface Tree {
  readonly name: string
  readonly files: number
  /** Of each file, in bytes. */
  readonly size: number
  readonly rounds: number
}

const trees: ReadonlyArray<Tree> = [
  { name: "5 000 files, 50 MB", files: 5000, size: 10_000, rounds: 5 },
  { name: "1 000 files, 1 GB", files: 1000, size: 1_000_000, rounds: 3 }
]

export const run = async (folder: string): Promise<ReadonlyArray<Comparison>> => {
  if (spawnSync("zstd", ["--version"]).status !== 0) {
    throw new Error("there is no zstd to compare with; install it (Debian: `apt-get install zstd`)")
  }
  const comparisons: Array<Comparison> = []
  const peaks: Array<number> = []
  for (const [at, tree] of trees.entries()) {
    const measured = await measure(join(folder, `checkpoint-${at}`), tree)
    comparisons.push(...measured.comparisons)
    peaks.push(measured.peak)
  }
  if (platform() !== "linux") console.error("memory is not measured here: only Linux tells it")
  else {
    comparisons.push({
      what: `checkpoint and restore, ${trees[1]!.name}, peak memory`,
      against: `of ${trees[0]!.name}`,
      target: 1.5,
      unit: "MB",
      pairs: [[peaks[1]!, peaks[0]!]]
    })
  }
  return comparisons
}

const measure = async (folder: string, tree: Tree) => {
  const { files, name, rounds, size } = tree
  const repository = join(folder, "repository")
  mkdirSync(repository, { recursive: true })
  execFileSync("git", ["init", "--quiet", "--initial-branch=main", repository])
  const identity = ["-c", "user.name=bench", "-c", "user.email=bench@example.com"]
  execFileSync("git", [...identity, "commit", "--quiet", "--allow-empty", "-m", "first"], { cwd: repository })

  const saver = fork(join(import.meta.dirname, "saver.ts"), {
    execArgv: ["--conditions=@org/source"],
    env: { ...process.env, XDG_STATE_HOME: join(folder, "state"), XDG_CACHE_HOME: join(folder, "cache") }
  })
  const ask = async (question: Question) => {
    saver.send(question)
    const [answer] = (await once(saver, "message")) as [Answer]
    if ("problem" in answer) throw new Error(`${question.verb}: ${answer.problem}`)
    return answer
  }

  const worktree = (await ask({ verb: "up", repository })).said
  fill(worktree, files, size)
  const archive = join(folder, "tree.tar.zst")
  const unpacked = join(folder, "unpacked")
  const pack = `tar -C ${quoted(worktree)} --exclude=./.git -cf - . | zstd -1 -q -f -o ${quoted(archive)}`
  const unpack = `zstd -d -c -q ${quoted(archive)} | tar -C ${quoted(unpacked)} -xf -`
  const emptied = (directory: string) => {
    mkdirSync(directory, { recursive: true })
    for (const entry of readdirSync(directory)) {
      if (entry !== ".git") rmSync(join(directory, entry), { recursive: true })
    }
  }

  const turn = async (pipe: (script: string) => Promise<unknown>) => {
    await ask({ verb: "remove" })
    const saved = await ask({ verb: "checkpoint" })
    const packing = await timed(() => pipe(pack))
    const again = await ask({ verb: "checkpoint" })
    emptied(worktree)
    emptied(unpacked)
    const restored = await ask({ verb: "restore", checkpoint: saved.said })
    const unpacking = await timed(() => pipe(unpack))
    compare(worktree, unpacked)
    return { saved: [saved.took, packing], again: [again.took, packing], restored: [restored.took, unpacking] } as const
  }
  await turn(shell)
  const turns: Array<Awaited<ReturnType<typeof turn>>> = []
  while (turns.length < rounds) turns.push(await turn(shell))

  // looking at memory takes time, and has a turn of its own
  let [ours, theirs] = [0, 0]
  if (platform() === "linux") {
    const watched = async (script: string) => {
      theirs = Math.max(theirs, await watch(script))
    }
    ours = await Memory.during(saver.pid!, () => turn(watched))
  }
  await ask({ verb: "end" })
  await once(saver, "exit")
  rmSync(folder, { recursive: true, force: true })
  const against = "tar | zstd -1"
  const comparisons: ReadonlyArray<Comparison> = [
    { what: `checkpoint, ${name}`, against, target: 2, pairs: turns.map(({ saved }) => saved) },
    { what: `checkpoint again, ${name}, unchanged`, against, target: 2, pairs: turns.map(({ again }) => again) },
    { what: `restore, ${name}`, against: "zstd -d | tar", target: 4, pairs: turns.map(({ restored }) => restored) },
    ...(ours === 0
      ? []
      : [
          {
            what: `checkpoint and restore, ${name}, peak memory`,
            against,
            unit: "MB",
            pairs: [[ours, theirs]]
          } as const
        ])
  ]
  return { comparisons, peak: ours }
}

const timed = async (f: () => Promise<unknown>): Promise<number> => {
  const from = performance.now()
  await f()
  return performance.now() - from
}

const quoted = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`

const start = (script: string) => {
  const child = spawn("sh", ["-c", script], { stdio: ["ignore", "ignore", "inherit"] })
  const ended = once(child, "close").then(([code]) => {
    if (code !== 0) throw new Error(`exit ${code}: ${script}`)
  })
  return { pid: child.pid!, ended }
}

const shell = (script: string): Promise<void> => start(script).ended

/** As `shell`; answers what it needed of memory, in megabytes. */
const watch = (script: string): Promise<number> => {
  const { ended, pid } = start(script)
  return Memory.during(pid, () => ended)
}

/** Files that can be made smaller as source code can, and that are the same in every run. */
export const fill = (directory: string, files: number, size: number): void => {
  const words = Array.from({ length: 2000 }, (_, n) =>
    createHash("md5")
      .update(String(n))
      .digest("hex")
      .slice(0, 3 + (n % 9))
  )
  let state = 1
  const next = () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state
  }
  for (let file = 0; file < files; file++) {
    const parent = join(directory, `folder-${file % 50}`)
    if (file < 50) mkdirSync(parent)
    let text = ""
    while (text.length < size) text += `${words[next() % words.length]}${next() % 8 === 0 ? "\n" : " "}`
    writeFileSync(join(parent, `file-${file}`), text.slice(0, size))
  }
}

/** Fails unless both have the same files: what did not come back whole was not fast. */
const compare = (one: string, other: string): void => {
  const { status, stdout } = spawnSync("diff", ["-rq", "--exclude=.git", one, other], { encoding: "utf8" })
  if (status !== 0) throw new Error(`the trees differ: ${stdout.slice(0, 500)}`)
}
