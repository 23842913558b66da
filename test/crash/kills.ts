/** `up`, `down` and `switch`, killed at random moments, and nothing but that; then one `gc` has to put right all that they left. */
import * as Lifecycle from "@org/sandbox-core/Lifecycle"
import { instanceName } from "@org/sandbox-core/Session"
import { accounted, collected, demand, historical, type Row, rows } from "./checks.ts"
import { type Ended, told, type World } from "./world.ts"

/** How many sessions there are at a time: a network each, and an engine gives out about thirty. */
const most = 12

/** States from which the same request goes on with what it began. */
const unmade: ReadonlyArray<Lifecycle.State> = ["requested", "provisioning", "syncing"]

/** States from which a session can be switched, or in which a dead switch has left it. */
const movable: ReadonlyArray<Lifecycle.State> = ["ready", "stopped", "switching"]

export class Kills {
  readonly figures = { killed: 0, ups: 0, downs: 0, switches: 0, destroys: 0, completed: 0 }
  private readonly w: World
  private readonly next: () => number
  /** How long each kind took when nobody killed it last, in milliseconds. */
  private readonly usual: Record<string, number> = {}
  private readonly log: Array<string> = []

  constructor(w: World, next: () => number) {
    this.w = w
    this.next = next
  }

  /** A command about one of the names: a new session, the same request again, or the end of what is there. */
  private about(
    name: string,
    row: Row | undefined
  ): readonly [verb: "ups" | "downs" | "switches" | "destroys", ...Array<string>] {
    const dice = this.next()
    const { away, provider } = this.w.boxes
    const request = `${name}-${rows(this.w).filter((one) => one.name === name).length - (row === undefined ? 0 : 1)}`
    const up = ["up", this.w.app, "--branch", "main", "--name", name, "--provider", provider] as const
    // what a switch was bringing up is no up's
    const isUp = (one: Row) => unmade.includes(one.state) && one.ready_at === null
    if (row === undefined || (dice < 0.6 && isUp(row))) return ["ups", ...up, "--client-request-id", request]
    if (dice < 0.5 && movable.includes(row.state)) {
      return ["switches", "switch", row.id, "--to", row.provider === provider ? away : provider]
    }
    return dice < 0.8 && row.state !== "stopped"
      ? ["downs", "down", row.id]
      : ["destroys", "down", "--destroy", row.id, "--force", "--confirm-data-loss"]
  }

  /** Runs it to its end, or kills it before; learns how long it takes. */
  private async command(kind: string, argv: ReadonlyArray<string>, spared = false): Promise<Ended> {
    const from = performance.now()
    const running = this.w.start([...argv, "--json"])
    const ms = this.next() * (this.usual[kind] ?? 2000)
    const timer = setTimeout(() => spared || running.process.kill("SIGKILL"), ms)
    const ended = await running.ended
    clearTimeout(timer)
    if (ended.code === 0) this.usual[kind] = performance.now() - from
    this.log.push(`${argv.join(" ")}${spared ? "" : ` after ${Math.round(ms)} ms`} → ${ended.signal ?? ended.code}`)
    return ended
  }

  private async one(): Promise<void> {
    const name = `k${Math.floor(this.next() * most)}`
    const row = rows(this.w).find((row) => row.name === name && row.state !== "destroyed")
    const [kind, ...argv] = this.about(name, row)
    // now and then one is let be, so that there is something to take down, and room for something new
    const spared = this.usual[kind] === undefined || this.next() < 0.25
    const ended = await this.command(kind, argv, spared)
    // all that died before is no obstacle
    demand(!ended.hung && (ended.signal === "SIGKILL" || ended.code === 0), "stuck", () => told(ended))
    if (ended.code === 0) this.figures.completed += 1
    else {
      this.figures.killed += 1
      this.figures[kind] += 1
    }
  }

  /** Kills so many of them, and answers what is true after one `gc`. */
  async run(count: number, say: () => void): Promise<string> {
    const { w } = this
    for (let said = 0; this.figures.killed < count; ) {
      await this.one()
      if (this.figures.killed < said + 25) continue
      said = this.figures.killed
      say()
    }
    const gc = await w.run(["gc", "--json"])
    demand(gc.code === 0, "stuck", () => told(gc))
    const live = rows(w).filter(({ state }) => state !== "destroyed")
    for (const { claim_token, id, state } of live) {
      demand(Lifecycle.isSettled(state) && claim_token === null, "stuck", () => `${id} is ${state} after gc`)
    }
    const boxes = live.filter(({ instance }) => instance !== null)
    const known = boxes.map(({ instance }) => instanceName(JSON.parse(instance!).key))
    const stray = w.boxes.parts(w).filter((part) => !known.some((name) => part.endsWith(` ${name}`)))
    demand(stray.length === 0, "leaked", () => `nobody speaks of ${stray}`)
    await accounted(w)
    for (const { id } of live) {
      const ended = await this.command("destroys", ["destroy", id, "--force", "--confirm-data-loss"], true)
      demand(ended.code === 0, "stuck", () => told(ended))
    }
    const left = w.boxes.parts(w)
    demand(left.length === 0, "leaked", () => `after everything was destroyed there is ${left}`)
    await accounted(w)
    historical(w)
    w.passTime()
    const last = await w.run(["gc", "--json"])
    demand(last.code === 0, "stuck", () => told(last))
    collected(w)
    return `${live.length} of ${rows(w).length} sessions live after one gc, ${boxes.length} with a box, nothing of any other; after they were destroyed 0 parts of boxes are left`
  }

  /** What led here, latest last. */
  story(): string {
    return this.log.slice(-40).join("\n")
  }
}
