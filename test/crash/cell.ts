/** One cell of the matrix: a command meets one fault at one point; then recovery as recommended, and every check. */
import { execFileSync } from "node:child_process"
import { existsSync, readFileSync, rmSync } from "node:fs"
import { join } from "node:path"
import { type Disturbance, disturbances, type OwnEngine } from "../support/ownEngine.ts"
import { boxesOf } from "./boxes.ts"
import {
  accounted,
  alive,
  Broken,
  collected,
  demand,
  historical,
  intact,
  locks,
  type Row,
  recover,
  repair,
  revive,
  rows
} from "./checks.ts"
import type { Work } from "./held.ts"
import type { Control, Fault } from "./instrument/points.ts"
import { leftBySwitch, single, sound, unchanged } from "./left.ts"
import type { Scenario } from "./prepare.ts"
import { answerOf, type Ended, told, until, World } from "./world.ts"

export interface Cell {
  readonly scenario: Scenario
  /** Counted from 1. */
  readonly at: number
  readonly fault: Fault
  /** What the point was called when the points were recorded. */
  readonly point: string
}

export const idOf = ({ at, fault, scenario }: Cell): string => `${scenario.name}#${at}:${fault}`

/** Where the boxes of a bench are. */
export interface Place {
  readonly provider: string
  /** Where sessions are switched to. */
  readonly to?: string | undefined
  readonly engine?: OwnEngine | undefined
}

/** A place where cells are run one after the other. */
export class Bench {
  readonly world: World
  private readonly copies: string
  private readonly works = new Map<string, ReadonlyArray<Work>>()

  private readonly engine: OwnEngine | undefined

  /** With an engine of its own, that is what is disturbed; otherwise it is the command. */
  constructor(directory: string, main: string, { engine, provider, to }: Place) {
    this.world = new World(join(directory, "world"), main, boxesOf(provider, { engine, to }))
    this.copies = join(directory, "copies")
    this.engine = engine
  }

  private get record(): string {
    return `${this.world.directory}.points`
  }

  /** The world as the scenario's command finds it. */
  async prepare(scenario: Scenario): Promise<ReadonlyArray<Work>> {
    const { world } = this
    const copy = join(this.copies, scenario.name.replaceAll("/", "-"))
    const known = this.works.get(scenario.name)
    if (known !== undefined) {
      world.load(copy)
      return known
    }
    world.make()
    const works = await scenario.prepare(world)
    if (scenario.living !== true && !world.boxes.living) {
      execFileSync("mkdir", ["-p", this.copies])
      world.save(copy)
      this.works.set(scenario.name, works)
    }
    return works
  }

  /** Runs the command undisturbed, and answers the cells that it has. */
  async discover(scenario: Scenario): Promise<ReadonlyArray<Cell>> {
    await this.prepare(scenario)
    const ended = await this.world.run([...scenario.command(this.world), "--json"], this.control(scenario))
    if (ended.code !== (scenario.ends ?? 0)) throw new Error(`${scenario.name}, undisturbed: ${told(ended)}`)
    const faultsOf = this.engine === undefined ? ofTheCommand : ofTheEngine
    return this.passed().flatMap((point, index) =>
      faultsOf(point).map((fault) => ({ scenario, at: index + 1, fault, point }))
    )
  }

  /** What the command of a scenario is told, with a new record of its points. */
  private control({ refused }: Scenario, cell?: Pick<Cell, "at" | "fault">): Control {
    rmSync(this.record, { force: true })
    return { record: this.record, refused: refused?.(this.world), ...cell }
  }

  private passed(): ReadonlyArray<string> {
    return existsSync(this.record) ? readFileSync(this.record, "utf8").trim().split("\n") : []
  }

  /** Answers whether the point was reached; throws what is `Broken`. */
  async run(cell: Cell): Promise<boolean> {
    const { scenario } = cell
    const works = await this.prepare(scenario)
    const w = this.world
    const argv = [...scenario.command(w), "--json"]
    const before = rows(w)
    const stash = stashOf(w)
    let ended: Ended | undefined
    try {
      ended = await this.strike(cell, argv)
      if (this.passed().length < cell.at) return false
      this.judge(cell, ended, before)
      // by the end of these somebody else has gone on already, or the engine has to be well again first
      const isFresh = !sleeps(cell.fault) && !isDisturbance(cell.fault)
      if (isFresh) sound(w)
      if (isFresh && scenario.isTold === true) this.tell(cell, ended, before[0]!)
      // who is told that all is undone need not do anything about it
      if (ended.code === 130 && before.every((row) => row.claim_token === null)) await accounted(w)
      await recover(w)
      // what was asked of a box before somebody else had it may have happened to it since
      if (isDisturbance(cell.fault)) await repair(w)
      if (cell.fault === "late") await revive(w)
      await this.settled(works, before)
      await collect(w)
      await recover(w)
      await accounted(w)
      collected(w)
      if (await this.again(scenario.command(w), before.length)) scenario.done?.(w)
      await this.settled(works, before)
      demand(stashOf(w) === stash, "lost", () => `the user's stash was ${stash}, and is ${stashOf(w)}`)
      demand(locks(w).length === 0, "leaked", () => `still locked: ${locks(w)}`)
    } catch (error) {
      if (!(error instanceof Broken)) throw error
      throw new Broken(
        error.kind,
        `${idOf(cell)} (${cell.point}): ${error.message}\n    after ${ended === undefined ? "it slept" : told(ended)}`
      )
    }
    return true
  }

  /** Nothing is under way: everything is accounted for, and nothing is lost. */
  private async settled(works: ReadonlyArray<Work>, before: ReadonlyArray<Row>): Promise<void> {
    const w = this.world
    await accounted(w)
    single(w)
    await alive(w)
    historical(w)
    unchanged(before, rows(w))
    await intact(w, works)
  }

  /** Whether a switch left what it may leave where it ended; of other faults than these it may go other ways. */
  private tell({ at, fault }: Cell, ended: Ended, before: Row): void {
    const isInterrupted = fault === "SIGINT" && (ended.code === 130 || ended.code === 0)
    if (fault !== "SIGKILL" && !isInterrupted) return
    const { away, provider } = this.world.boxes
    const to = before.provider === away ? provider : away
    leftBySwitch(this.world, ended, { before, passed: this.passed().slice(0, at), to })
  }

  private async strike({ at, fault, scenario }: Cell, argv: ReadonlyArray<string>): Promise<Ended> {
    const running = this.world.start(argv, this.control(scenario, { at, fault }))
    if (!sleeps(fault) && !isDisturbance(fault)) return running.ended
    const pid = running.process.pid!
    const halted = () => running.process.exitCode !== null || stateOf(pid).startsWith("T")
    await until(halted, 30_000)
    if (isDisturbance(fault)) {
      const { ended } = running
      // a command may wait for an engine without a limit
      const over = {
        pause: Promise.race([ended, after(15_000)]),
        unreachable: ended,
        restart: now,
        crash: now,
        runtime: now
      }
      const well = this.engine!.disturb(fault, over[fault])
      running.process.kill("SIGCONT")
      await well
      return running.ended
    }
    // somebody else goes on as soon as the lease has run out, and then the sleeper wakes
    const died = await recover(this.world).then(
      () => undefined,
      (error: unknown) => error
    )
    running.process.kill("SIGCONT")
    const ended = await running.ended
    if (died !== undefined) throw died
    return ended
  }

  /** Whether a command may end like this after such a fault. */
  private judge({ fault, scenario }: Cell, ended: Ended, before: ReadonlyArray<Row>): void {
    demand(!ended.hung, "stuck", () => "it hung")
    if (fault === "SIGKILL" || fault === "late") {
      demand(ended.signal === "SIGKILL", "wrong", () => "it was not killed")
      return
    }
    // whoever cannot ask a provider cannot take back what it made there either
    const cannotAsk = isDisturbance(fault) || fault === "silent" || fault === "failing"
    const codes = fault === "SIGINT" ? [0, scenario.ends, 3, 130] : cannotAsk ? [0, 1, 2, 3] : [0, 1, 2]
    demand(codes.includes(ended.code ?? -1), "wrong", () => `it ended with ${ended.code ?? ended.signal}`)
    const answer = answerOf(ended)
    demand(answer.ok === (ended.code === 0) || inPart(ended), "wrong", () => "its answer is not its exit code's")
    demand(answer.error_code !== "ERR_INTERNAL", "wrong", () => "it has a bug")
    const now = rows(this.world)
    if (ended.code === 130) {
      demand(
        // a claim that was dead already is not this command's to drop
        now.every((row) => row.claim_token === null || before.some((old) => old.claim_token === row.claim_token)),
        "stuck",
        () => "it is not rolled back: there is a claim"
      )
    }
    if (ended.code === 1 && !sleeps(fault)) {
      const [was, is] = [before, now].map((all) => all.map(({ id, state }) => `${id} ${state}`).join(", "))
      demand(was === is, "wrong", () => `it refused, and yet ${was} became ${is}`)
    }
  }

  /** The same command again makes nothing twice; answers whether it says that all is done. */
  private async again(argv: ReadonlyArray<string>, prepared: number): Promise<boolean> {
    const w = this.world
    const named = () => rows(w).filter(({ name }) => name === "s")
    const struck = named().length
    const again = await w.run([...argv, "--json"])
    demand([0, 1, 2, 130].includes(again.code ?? -1), "wrong", () => `typed again: ${told(again)}`)
    demand(answerOf(again).error_code !== "ERR_INTERNAL", "wrong", () => `typed again: ${told(again)}`)
    await recover(w)
    await accounted(w)
    const live = named().filter(({ state }) => state !== "destroyed")
    demand(live.length <= 1, "leaked", () => `typed again, it made a second session: ${told(again)}`)
    // what ended before it reserved anything leaves nothing to be known again by
    const most = struck > prepared ? struck : prepared + 1
    demand(named().length <= most, "wrong", () => `typed again, it made another session: ${told(again)}`)
    return again.code === 0
  }

  close(): void {
    this.world.clear()
    rmSync(this.copies, { recursive: true, force: true })
    rmSync(this.record, { force: true })
  }
}

/** `gc`, until late answers are no longer waited for. */
const collect = async (w: World): Promise<void> => {
  for (const late of [false, true]) {
    if (late) {
      if (w.query("SELECT key FROM intents WHERE status = 'open'").length === 0) return
      w.passTime()
    }
    const gc = await w.run(["gc", "--json"])
    demand(gc.code === 0, "stuck", () => told(gc))
  }
}

/** A `gc` that could put right some of it, and not all. */
const inPart = (ended: Ended): boolean =>
  ended.argv[0] === "gc" &&
  ended.code === 2 &&
  JSON.parse(ended.stdout).actions.some(({ outcome }: { readonly outcome: string }) => outcome === "failed")

const stateOf = (pid: number): string => {
  try {
    return execFileSync("ps", ["-o", "stat=", "-p", String(pid)], { encoding: "utf8" }).trim()
  } catch {
    return "gone"
  }
}

const now = Promise.resolve()

/** Waits; does not keep the run from ending. */
const after = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms).unref())

/** The user's own stash, which no session has a part in. */
const stashOf = (w: World): string => (existsSync(w.app) ? w.git("stash", "list", "--format=%H") : "")

/** Somebody else goes on while the process sleeps. */
const sleeps = (fault: Fault): boolean => fault === "SIGSTOP" || fault === "late"

const isDisturbance = (fault: Fault): fault is Disturbance => disturbances.some((kind) => kind === fault)

const ofTheEngine = (point: string): ReadonlyArray<Fault> =>
  /^(provider docker|engine) /.test(point) ? disturbances : []

/** Calls by which a provider changes something: what is asked for may happen later than anybody waits for it. */
const changing = / before (provision|stop|start|destroy|files\.write|workspace\.attach|workspace\.detach)$/

/** What can happen to a command at a point of this kind. */
const ofTheCommand = (point: string): ReadonlyArray<Fault> => {
  if (/^provider \S+ after /.test(point)) return ["SIGKILL", "SIGINT", "lost", "SIGSTOP"]
  if (!/^provider \S+ before /.test(point)) return ["SIGKILL", "SIGINT"]
  const calls: ReadonlyArray<Fault> = ["SIGKILL", "SIGINT", "once", "failing", "silent"]
  return changing.test(point) ? [...calls, "late"] : calls
}
