/**
 * A world in which sessions are moved: one ledger, providers `a`, `b` and `c`, and one log of all that is written and called, in
 * the order in which it happened.
 *
 * Boxes are of one memory cloud; with `real`, `a` and `b` are the local provider twice, each in a directory of its own, so that
 * checkouts are worktrees whose work can be saved and restored.
 */
import { execFileSync } from "node:child_process"
import { cpSync, existsSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert } from "@effect/vitest"
import * as Faults from "@org/sandbox-conformance/Faults"
import { switchProvider, up } from "@org/sandbox-core"
import { Directories } from "@org/sandbox-core/Host"
import { type Change, Ledger } from "@org/sandbox-core/Ledger"
import * as MemoryProvisioner from "@org/sandbox-core/MemoryProvisioner"
import type { SwitchOptions } from "@org/sandbox-core/Options"
import { Provisioner, type ProvisionerShape } from "@org/sandbox-core/Provisioner"
import { Provisioners } from "@org/sandbox-core/Provisioners"
import * as SandboxError from "@org/sandbox-core/SandboxError"
import type { Session } from "@org/sandbox-core/Session"
import * as SqlLedger from "@org/sandbox-core/SqlLedger"
import * as LocalProvisioner from "@org/sandbox-provider-local/LocalProvisioner"
import { Context, Deferred, Effect, type Exit, Fiber, Layer, Option, Scope, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as NodePorts from "../../packages/core/src/node/NodePorts.ts"
import * as NodeProcesses from "../../packages/core/src/node/NodeProcesses.ts"
import { type databases, temporaryDirectory } from "../../packages/core/test/support/databases.ts"
import * as support from "../../packages/core/test/support/world.ts"
import { type Ending, endAt, Points, type RuntimeOptions, repository } from "./world.ts"

export { databases } from "../../packages/core/test/support/databases.ts"
export { type Ending, Points } from "./world.ts"

export type Database = (typeof databases)[number]

/** A write of the ledger, or a provider call that changes something: when it began, and once it has succeeded. */
export interface Step {
  /** The process, by its id. */
  readonly by: number
  readonly at: "begun" | "done"
  /** `ledger.acquire`, `ledger.commit`, `a.stop`, … */
  readonly what: string
  /** The key of a box, or the phase of a write. */
  readonly of: string
  readonly change?: Change | undefined
}

const template = repository()

const node = await Effect.runPromise(
  Layer.buildWithScope(Layer.mergeAll(NodeServices.layer, NodePorts.layer, NodeProcesses.layer), Scope.makeUnsafe())
)

interface Recorder {
  readonly by: number
  readonly points: Points
  readonly log: Array<Step>
}

/** Notes a step, and stops at its points. */
const step = <A, E, R>(
  { by, log, points }: Recorder,
  of: Omit<Step, "by" | "at">,
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> => {
  const note = (at: Step["at"]) => Effect.sync(() => void log.push({ by, at, ...of }))
  const name = of.what.startsWith("ledger.") ? `${of.what}.${of.of}` : of.what
  return points.around(name, Effect.andThen(note("begun"), effect).pipe(Effect.tap(() => note("done"))))
}

const watchedLedger = (ledger: Ledger["Service"], recorder: Recorder): Ledger["Service"] => {
  const { points } = recorder
  return {
    ...ledger,
    session: (id) => points.alive(ledger.session(id)),
    sessions: (query) => points.alive(ledger.sessions(query)),
    history: (id) => points.alive(ledger.history(id)),
    request: (key) => points.alive(ledger.request(key)),
    reserve: (reservation) => step(recorder, { what: "ledger.reserve", of: "up" }, ledger.reserve(reservation)),
    acquire: (acquisition) =>
      step(recorder, { what: "ledger.acquire", of: acquisition.claim.kind }, ledger.acquire(acquisition)),
    renew: (claim) => points.alive(ledger.renew(claim)),
    commit: (write) => {
      const { change } = write
      const of = change.phase ?? change.move?.to ?? "same"
      return step(recorder, { what: "ledger.commit", of, change }, ledger.commit(write))
    }
  }
}

const watchedProvider = (name: string, provider: ProvisionerShape, recorder: Recorder): ProvisionerShape => {
  const { points } = recorder
  const { start, workspace } = provider
  const call = <A, E, R>(op: string, of: string, effect: Effect.Effect<A, E, R>) =>
    step(recorder, { what: `${name}.${op}`, of }, effect)
  return {
    ...provider,
    scope: points.alive(provider.scope),
    inspect: (ref) => points.alive(provider.inspect(ref)),
    find: (key) => points.alive(provider.find(key)),
    preflight: (spec) => points.alive(provider.preflight(spec)),
    provision: (intent) => call("provision", intent.key, provider.provision(intent)),
    stop: (ref) => call("stop", ref.key, provider.stop(ref)),
    destroy: (target) => call("destroy", typeof target === "string" ? target : target.key, provider.destroy(target)),
    ...(start && { start: (ref) => call("start", ref.key, start(ref)) }),
    ...(workspace && {
      workspace: {
        ...workspace,
        attach: (ref, source) => call("attach", ref.key, workspace.attach(ref, source)),
        status: (ref) => points.alive(workspace.status(ref)),
        detach: (ref) => call("detach", ref.key, workspace.detach(ref))
      }
    })
  }
}

export type Name = "a" | "b" | "c"

export interface MovingOptions extends RuntimeOptions {
  /** The providers that are registered; all, when absent. */
  readonly providers?: ReadonlyArray<Name>
}

/** A fresh ledger, fresh providers, and processes over them. */
export const make = Effect.fnUntraced(function* (
  database: Database,
  options: {
    readonly real?: boolean
    /** Providers whose boxes end when they are halted. */
    readonly ending?: ReadonlyArray<Name>
  } = {}
) {
  const { ending = [], real = false } = options
  const built = yield* Layer.build(
    SqlLedger.layer({ where: "test", mayInitialise: true }).pipe(
      Layer.provide(support.ids),
      Layer.provide(Layer.fresh(database.layer))
    )
  )
  const ledger = Context.get(built, Ledger)
  const state = yield* temporaryDirectory
  const app = real ? join(state, "app") : template
  if (real) cpSync(template, app, { recursive: true })
  const cloud = MemoryProvisioner.makeCloud()
  const local = Effect.fnUntraced(function* (name: Name) {
    const place = Layer.succeed(Directories)({ state: join(state, name), cache: join(state, "cache") })
    const services = Layer.mergeAll(place, support.makeHost().layer, support.hasher, Layer.succeedContext(node))
    return yield* Effect.provide(LocalProvisioner.make, services)
  })
  const inner: { readonly [N in Name]: ProvisionerShape } = {
    a: real ? yield* local("a") : MemoryProvisioner.make({ cloud, name: "a", haltIsTerminal: ending.includes("a") }),
    b: real ? yield* local("b") : MemoryProvisioner.make({ cloud, name: "b", haltIsTerminal: ending.includes("b") }),
    c: MemoryProvisioner.make({ cloud, name: "c" })
  }
  const faults = {
    a: Faults.make({ ...inner.a, name: "a" }),
    b: Faults.make({ ...inner.b, name: "b" }),
    c: Faults.make(inner.c)
  }
  const names = ["a", "b", "c"] as const
  const store = support.makeStore()
  const log: Array<Step> = []
  const dead = new Set<number>()
  const ids = yield* Layer.build(support.ids)
  let intercept = (service: Ledger["Service"]): Ledger["Service"] => service

  const runtime = (more: MovingOptions = {}) => {
    const { host, pid = 100, points = new Points(), principal = "ann", providers = names } = more
    const self = support.makeHost({ host: host ?? "host-1", pid })
    for (const one of dead) self.dead.add(one)
    const recorder: Recorder = { by: pid, points, log }
    const registered = Object.fromEntries(
      providers.map((name) => [
        name,
        Layer.succeed(Provisioner)(watchedProvider(name, faults[name].provisioner, recorder))
      ])
    )
    return Layer.mergeAll(
      Layer.succeed(Ledger)(watchedLedger(intercept(ledger), recorder)),
      Provisioners.layer(registered),
      self.layer,
      store.layer,
      support.hasher,
      Layer.succeed(Directories)({ state, cache: join(state, "cache") }),
      support.principal(principal),
      Layer.succeedContext(ids),
      Layer.succeedContext(node)
    )
  }

  /** What the platforms themselves say there is of this ledger. */
  const boxes = Effect.forEach(
    names,
    Effect.fnUntraced(function* (provider) {
      const owned = [...(yield* Stream.runCollect(inner[provider].list(ledger.id)))]
      return yield* Effect.forEach(owned, ({ ref }) =>
        Effect.map(inner[provider].inspect(ref), ({ _tag }) => ({ provider, key: ref.key, is: _tag }))
      )
    })
  ).pipe(
    Effect.map((all) => all.flat()),
    Effect.orDie
  )

  return {
    ledger,
    cloud,
    faults,
    inner,
    store,
    log,
    state,
    repository: app,
    runtime,
    boxes,
    /** The boxes that run, as `provider key`. */
    running: Effect.map(boxes, (all) =>
      all.filter(({ is }) => is === "running").map(({ key, provider }) => `${provider} ${key}`)
    ),
    bury: (pid: number) => dead.add(pid),
    interceptLedger: (f: (service: Ledger["Service"]) => Ledger["Service"]) => {
      intercept = f
    }
  }
})

export type World = Effect.Success<ReturnType<typeof make>>

export const as = (world: World, options: MovingOptions = {}) => Effect.provide(world.runtime(options))

/** A session `work` that is ready on `a`, made by process 1. */
export const ready = Effect.fnUntraced(function* (world: World) {
  const { sessionId } = yield* Effect.provide(
    up({ repository: world.repository, branch: "topic", provider: "a", name: "work" }),
    world.runtime({ pid: 1 })
  )
  return yield* row(world, sessionId)
})

export const row = (world: World, id: string): Effect.Effect<Session, SandboxError.SandboxError> =>
  Effect.map(world.ledger.session(id), Option.getOrThrow)

/** All that the ledger has of a session, as text: what is compared byte for byte. */
export const recordsOf = Effect.fnUntraced(function* (world: World, id: string) {
  return JSON.stringify([yield* row(world, id), yield* world.ledger.history(id)], null, 1)
})

/** Moves `work`, as one process. */
export const move = (
  world: World,
  to: string,
  options: MovingOptions & { readonly policies?: Partial<SwitchOptions> } = {}
) => switchProvider({ session: "work", to, ...options.policies }).pipe(as(world, options))

/** Points that end their process when one of a name is passed for the first time. */
class NamedPoint extends Points {
  private readonly wanted: string
  private readonly ending: Ending
  private victim: Fiber.Fiber<unknown, unknown> | undefined
  private met = false

  constructor(wanted: string, ending: Ending) {
    super()
    this.wanted = wanted
    this.ending = ending
  }

  override watch(fiber: Fiber.Fiber<unknown, unknown>): void {
    this.victim = fiber
  }

  override pass(name: string): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (this.met || this.dead || name !== this.wanted) return super.pass(name)
      this.met = true
      const reached = Deferred.succeed(this.reached, name)
      if (this.ending === "kill") {
        this.dead = true
        return Effect.andThen(reached, Effect.never)
      }
      return Effect.andThen(
        reached,
        // noticed here, unless what is under way is not to be cut short
        Effect.andThen(
          Effect.sync(() => this.victim?.interruptUnsafe()),
          Effect.yieldNow
        )
      )
    })
  }
}

/**
 * Runs a program as a process that ends at a point, such as `a.stop:after` or `ledger.commit.written:before`. One that is killed
 * is known to be dead from then on.
 */
export const endedAt = Effect.fnUntraced(function* <A, E>(
  world: World,
  [point, ending, pid]: readonly [point: string, ending: Ending, pid: number],
  program: (options: MovingOptions) => Effect.Effect<A, E>
) {
  const points = new NamedPoint(point, ending)
  const ended = yield* endAt(points, program({ pid, points }))
  assert.isTrue(Deferred.isDoneUnsafe(points.reached), `it did not come to ${point}`)
  if (ending === "kill") world.bury(pid)
  return ended
})

/** What a process has begun that changes something, as `what of`. */
export const begunBy = (world: World, pid: number): ReadonlyArray<string> =>
  world.log.filter(({ at, by }) => at === "begun" && by === pid).map(({ of, what }) => `${what} ${of}`)

/** The calls of a name that were begun, by anybody. */
export const begun = (world: World, what: string): ReadonlyArray<Step> =>
  world.log.filter((step) => step.at === "begun" && step.what === what)

/** Every call that providers have got, those that only look included. */
export const asked = ({ faults }: World): number =>
  faults.a.calls.length + faults.b.calls.length + faults.c.calls.length

/** The row without what every write changes. */
export const withoutBookkeeping = ({ updatedAt: _, version: __, ...rest }: Session) => rest

/** Room for what is under way, in which no time passes. */
export const realPause = Effect.promise(() => new Promise<void>((resolve) => setTimeout(resolve, 25)))

/** Lets time pass in steps, with room between them for what wakes up to do its work. */
export const advance = Effect.fnUntraced(function* (seconds: number) {
  for (let passed = 0; passed < seconds; passed += 5) {
    yield* TestClock.adjust(`${Math.min(5, seconds - passed)} seconds`)
    yield* realPause
  }
})

/** Runs something to its end while time passes, with `room` in every second of it. */
export const inTime = Effect.fnUntraced(function* <A, E, R>(
  program: Effect.Effect<A, E, R>,
  room: Effect.Effect<void> = realPause
): Effect.fn.Return<Exit.Exit<A, E>, never, R | Scope.Scope> {
  const fiber = yield* Effect.forkScoped(program)
  while (fiber.pollUnsafe() === undefined) {
    yield* TestClock.adjust("1 second")
    yield* room
  }
  return yield* Fiber.await(fiber)
})

/** How something failed, while time passes. */
export const failureOf = Effect.fnUntraced(function* <A, R>(program: Effect.Effect<A, SandboxError.SandboxError, R>) {
  const exit = yield* inTime(Effect.flip(program))
  return exit._tag === "Success" ? exit.value : assert.fail("it should have failed")
})

export interface Held<A, E> {
  readonly fiber: Fiber.Fiber<A, E>
  readonly open: Effect.Effect<void>
}

/** Starts something, and answers once it waits at a call of a provider. */
export const heldAt = Effect.fnUntraced(function* <A, E, R>(
  world: World,
  [name, op, side]: readonly [Name, Faults.Operation, ("before" | "after")?],
  program: Effect.Effect<A, E, R>
) {
  const gate = yield* world.faults[name].gate(op, side)
  const fiber = yield* Effect.forkScoped(program)
  yield* Effect.raceFirst(
    gate.reached,
    Effect.andThen(Fiber.join(fiber), Effect.die(`it did not come to ${name}.${op}`))
  )
  return { fiber, open: gate.open } satisfies Held<A, E>
})

/** The ledger with a write that waits between what its caller has read and what it writes. */
export const gatedAcquire = Effect.fnUntraced(function* (world: World) {
  const reached = yield* Deferred.make<void>()
  const open = yield* Deferred.make<void>()
  world.interceptLedger((service) => ({
    ...service,
    acquire: (acquisition) =>
      Deferred.succeed(reached, undefined).pipe(
        Effect.andThen(Deferred.await(open)),
        Effect.andThen(service.acquire(acquisition))
      )
  }))
  return {
    reached: Effect.andThen(
      Deferred.await(reached),
      Effect.sync(() => world.interceptLedger((service) => service))
    ),
    open: Effect.asVoid(Deferred.succeed(open, undefined))
  }
})

export const ledgerFailure = SandboxError.make("ERR_LEDGER_IO", {
  message: "the disk is gone",
  nextStep: "bring it back"
})

/** Work of every kind in a checkout: a commit, a staged change, a change and a new file. */
export const workIn = (directory: string): void => {
  const git = (...args: ReadonlyArray<string>) =>
    execFileSync("git", ["-c", "user.name=t", "-c", "user.email=t@example.invalid", ...args], { cwd: directory })
  writeFileSync(join(directory, "committed.txt"), "committed\n")
  git("add", ".")
  git("commit", "--quiet", "-m", "work")
  writeFileSync(join(directory, "staged.txt"), "staged\n")
  git("add", "staged.txt")
  writeFileSync(join(directory, "a.txt"), "changed\n")
  writeFileSync(join(directory, "new.txt"), "new\n")
}

/** What there is in a checkout, to be compared; none where there is no checkout. */
export const seenIn = (directory: string | null): string | undefined => {
  if (directory === null || !existsSync(directory)) return undefined
  const git = (...args: ReadonlyArray<string>) => execFileSync("git", args, { cwd: directory, encoding: "utf8" })
  const files = ["a.txt", "committed.txt", "staged.txt", "new.txt"].map((file) => {
    const path = join(directory, file)
    return existsSync(path) ? readFileSync(path, "utf8") : "(none)"
  })
  return [git("rev-parse", "HEAD"), git("status", "--porcelain=v2"), ...files].join("\n")
}
