/** Rounds of a soak: random operations that may be killed, and a model of the work that must exist all the same. */
import { execFileSync } from "node:child_process"
import { randomBytes } from "node:crypto"
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { type Disturbance, disturbances, type OwnEngine } from "../support/ownEngine.ts"
import { accounted, alive, collected, demand, historical, intact, type Row, recover, repair, rows } from "./checks.ts"
import { difference, type Held, held as holds, same, type Work, without } from "./held.ts"
import type { Control } from "./instrument/points.ts"
import { single } from "./left.ts"
import { type Ended, type Running, told, type World } from "./world.ts"

/** The sessions of the world: their names, and how they come up. */
const sources: Readonly<Record<string, (w: World) => ReadonlyArray<string>>> = {
  a: (w) => [w.app, "--branch", "feature"],
  b: (w) => [w.app, "--branch", "main"],
  c: (w) => [`file://${w.app}`, "--branch", "main"],
  d: (w) => [w.app, "--branch", "topic", "--base", "main"]
}

const quiet: ReadonlyArray<string> = ["ready", "completed", "stopped", "destroyed"]

/** How long at most an engine is not well, in milliseconds, but for what it takes to become so. */
const longest: Readonly<Record<Disturbance, number>> = {
  restart: 2000,
  crash: 2000,
  runtime: 0,
  pause: 20_000,
  unreachable: 5000
}

const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

export class Soak {
  readonly figures = { rounds: 0, commands: 0, killed: 0, interrupted: 0, pairs: 0, disturbed: 0, works: 0 }
  /** What each session's checkout holds, by the session's id. */
  private readonly current = new Map<string, Held>()
  /** Work that was in a checkout and is not any more. */
  private readonly kept: Array<Work> = []
  /** How many points an undisturbed command of a verb passes, as far as was seen. */
  private readonly longest = new Map<string, number>()
  /** Commands in a box that nobody waited for to their end: the engine goes on with them, even after a pause. */
  private late: ReadonlyArray<ReadonlyArray<string>> = []
  private readonly log: Array<string> = []
  private readonly w: World
  private readonly next: () => number
  private readonly engine: OwnEngine | undefined

  /** An engine is disturbed, where there is one of the run's own. */
  constructor(w: World, next: () => number, engine?: OwnEngine) {
    this.w = w
    this.next = next
    this.engine = engine
  }

  private below(count: number): number {
    return Math.floor(this.next() * count)
  }

  private chance(of: number): boolean {
    return this.next() < of
  }

  private pick<A>(all: ReadonlyArray<A>): A {
    return all[this.below(all.length)]!
  }

  private live(name: string): Row | undefined {
    return rows(this.w).find((row) => row.name === name && row.state !== "destroyed")
  }

  /** What somebody might type about a session, whatever state it is in. */
  private operation(name: string): ReadonlyArray<string> {
    const row = this.live(name)
    if (row === undefined) return ["up", ...sources[name]!(this.w), "--name", name, "--provider", this.w.boxes.provider]
    const saved = this.w.query<{ id: string }>("SELECT id FROM checkpoints WHERE session_id = ?", row.id)
    const restore = saved.length === 0 ? [] : [["restore", name, this.pick(saved).id]]
    const file = `f${this.below(5)}`
    const { away, provider } = this.w.boxes
    const to = row.provider === provider ? away : provider
    return this.pick([
      ["exec", name, "--", "sh", "-c", `echo ${this.below(1000)} > ${file}; mkdir -p sub; echo x >> sub/${file}`],
      ["down", name],
      ["down", name],
      ["resume", name],
      ["resume", name],
      ["switch", name, "--to", to],
      ["switch", name, "--to", to],
      ["switch", name, "--to", to, "--on-failure", "hold"],
      ["checkpoint", "create", name],
      ...restore,
      ...restore,
      ["complete", name],
      ["export", name, "--branch", `out-${name}`, "--force"],
      ["destroy", name, "--force"],
      ["gc"]
    ])
  }

  /** Changes files in a checkout, or commits what is there, as an agent would. */
  private edit(row: Row): void {
    const { boxes } = this.w
    if (boxes.checkout(this.w, row) === undefined) return
    boxes.change(this.w, row, (checkout) => {
      if (this.chance(0.4)) {
        const git = (...args: ReadonlyArray<string>) =>
          execFileSync("git", ["-C", checkout, ...args], { env: this.w.env })
        git("add", "--all")
        git("commit", "--quiet", "--allow-empty", "--message", `round ${this.figures.rounds}`)
      } else writeFileSync(join(checkout, `g${this.below(5)}`), randomBytes(1 + this.below(20_000)))
      this.current.set(row.id, holds(checkout))
    })
  }

  private start(argv: ReadonlyArray<string>, control?: Control): Running {
    this.figures.commands += 1
    return this.w.start([...argv, ...(argv[0] === "exec" ? [] : ["--json"])], control)
  }

  /** Runs a command that may be killed, at a point or at a moment. */
  private async wild(argv: ReadonlyArray<string>, calm: number): Promise<Ended> {
    const record = `${this.w.directory}.points-${this.figures.commands}`
    const fault = this.chance(0.25) ? "SIGINT" : "SIGKILL"
    const dice = this.next()
    const at = 1 + this.below(this.longest.get(argv[0]!) ?? 60)
    const ms = 60 + this.below(200)
    let running: Running
    let how = ""
    rmSync(record, { force: true })
    if (dice < calm) running = this.start(argv, { record })
    else if (dice < calm + (1 - calm) * 0.7) {
      running = this.start(argv, { record, at, fault })
      how = ` ${fault} at ${at}`
    } else {
      running = this.start(argv)
      const { process: child } = running
      const timer = setTimeout(() => child.kill(fault), ms)
      child.once("exit", () => clearTimeout(timer))
      how = ` ${fault} after ${ms} ms`
    }
    const ended = await running.ended
    if (existsSync(record)) {
      const passed = readFileSync(record, "utf8").trim().split("\n").length
      if (ended.code === 0) this.longest.set(argv[0]!, Math.max(passed, this.longest.get(argv[0]!) ?? 1))
      rmSync(record)
    }
    if (ended.signal === "SIGKILL") this.figures.killed += 1
    if (ended.code === 130) this.figures.interrupted += 1
    this.log.push(`${this.figures.rounds}: ${argv.join(" ")}${how} → ${ended.signal ?? ended.code}`)
    demand(!ended.hung, "stuck", () => told(ended))
    const internal = ended.stdout.includes("ERR_INTERNAL") || ended.stderr.includes("ERR_INTERNAL")
    demand(!internal, "wrong", () => told(ended))
    return ended
  }

  private async round(): Promise<void> {
    this.figures.rounds += 1
    const { w } = this
    const name = this.pick(Object.keys(sources))
    const row = this.live(name)
    if (row !== undefined && this.chance(0.4)) this.edit(row)
    const argv = this.operation(name)
    const together = [argv]
    if (this.chance(0.15)) {
      together.push(this.operation(name))
      this.figures.pairs += 1
    }
    const { engine } = this
    const due = () => this.figures.rounds % 4 === 0 || this.chance(0.3)
    const disturbed = engine !== undefined && due() ? this.disturb(engine) : undefined
    const commands = together.map((one) => this.wild(one, disturbed === undefined ? 0.4 : 0.7))
    // nothing can be looked at before the engine is well again
    await Promise.allSettled([disturbed, ...commands])
    await disturbed
    const ended = await Promise.all(commands)
    await this.follow()
    // what is not brought up again now is met as it is
    if (disturbed !== undefined) {
      this.log.push(...(await repair(w, () => this.chance(0.5))).map((id) => `    the box of ${id} had halted`))
    }
    await accounted(w)
    single(w)
    // a box may have halted with its engine
    if (engine === undefined) await alive(w)
    const { late } = this
    this.late = together.filter(([verb], n) => verb === "exec" && ended[n]?.code !== 0)
    this.model([...together, ...late])
    if (this.figures.rounds % 10 === 0) {
      const gc = await w.run(["gc", "--json"])
      demand(gc.code === 0, "stuck", () => told(gc))
      w.passTime()
      await w.run(["gc", "--json"])
      collected(w)
      historical(w)
      await accounted(w)
    }
  }

  /** Does something to the engine at some moment of a command, and answers when that is over. */
  private disturb(engine: OwnEngine): Promise<void> {
    // the last one takes it a quarter of a minute, and little of that can be seen
    const kind = this.chance(0.05) ? "runtime" : this.pick(disturbances.filter((kind) => kind !== "runtime"))
    const from = this.below(1500)
    const ms = Math.round(longest[kind] * 0.025 ** this.next())
    this.figures.disturbed += 1
    this.log.push(`${this.figures.rounds}: after ${from} ms the engine has a ${kind} of ${ms} ms`)
    return wait(from).then(() => engine.disturb(kind, wait(ms)))
  }

  /** Follows what `status` recommends; now and then what is recommended is killed as well. */
  private async follow(): Promise<void> {
    const { w } = this
    for (let crashes = 0; ; crashes++) {
      const restless = rows(w).filter((row) => row.claim_token !== null || !quiet.includes(row.state))
      if (restless.length === 0) return
      if (crashes > 2 || !this.chance(0.3)) {
        this.log.push(...(await recover(w)).map((typed) => `    ${typed}`))
        return
      }
      const { id } = this.pick(restless)
      const status = await w.run(["status", id, "--json"])
      const command: string | undefined = JSON.parse(status.stdout).recovery?.command
      if (command !== undefined && !command.startsWith("sandbox status"))
        await this.wild(command.split(" ").slice(1), 0)
    }
  }

  /** Compares every checkout with what it should hold, and takes note of what it holds now. */
  private model(commands: ReadonlyArray<ReadonlyArray<string>>): void {
    const restored = commands.some(([verb]) => verb === "restore" || verb === "up")
    const edited = commands.flatMap((argv) => (argv[0] === "exec" ? [/> (f\d)/.exec(argv.at(-1)!)![1]!] : []))
    for (const row of rows(this.w)) {
      const held = this.current.get(row.id)
      const checkout = this.w.boxes.checkout(this.w, row)
      if (checkout === undefined) {
        if (held === undefined) continue
        this.keep({ session: row.id, held, changed: edited })
        this.current.delete(row.id)
        continue
      }
      const now = holds(checkout)
      this.current.set(row.id, now)
      if (held === undefined || same(now, held)) continue
      if (edited.length > 0 && same(without(now, edited), without(held, edited))) continue
      const known = this.kept.some((work) => work.session === row.id && same(work.held, now))
      const saved = this.w.query<{ head: string }>("SELECT head FROM checkpoints WHERE session_id = ?", row.id)
      demand(
        known || (restored && saved.some(({ head }) => head === now.head)),
        "lost",
        () => `the checkout of ${row.name} ${row.id} changed by itself: ${difference(held, now)}`
      )
      this.keep({ session: row.id, held })
    }
  }

  private keep(work: Work): void {
    if (this.kept.some(({ held, session }) => session === work.session && same(held, work.held))) return
    this.kept.push(work)
    this.figures.works += 1
  }

  /** So many rounds, and then the end; answers what is true after it. */
  async run(rounds: number, say: () => void): Promise<string> {
    while (this.figures.rounds < rounds) {
      await this.round()
      if (this.figures.rounds % 25 === 0) say()
    }
    await this.end()
    return "0 leaked boxes, 0 lost files, 0 rows that no command can move"
  }

  /** Restores everything that was kept, removes all sessions, and looks what is left. */
  private async end(): Promise<void> {
    const { w } = this
    await recover(w)
    await intact(w, this.kept)
    const expected = [...this.current].map(([session, held]) => ({ session, held }))
    await intact(w, expected)
    for (const { id, state } of rows(w)) {
      if (state === "destroyed") continue
      // a halted one may have been worked in since it was saved; of any other `destroy` itself saves the work
      if (state === "stopped") await w.run(["checkpoint", "create", id, "--json"])
      const ended = await w.run(["destroy", id, "--force", "--json"])
      demand(ended.code === 0, "stuck", () => told(ended))
    }
    await intact(w, expected)
    w.passTime()
    const gc = await w.run(["gc", "--json"])
    demand(gc.code === 0, "stuck", () => told(gc))
    await accounted(w)
    collected(w)
    historical(w)
  }

  /** What led here, latest last. */
  story(): string {
    return this.log.join("\n")
  }
}
