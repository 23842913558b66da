/**
 * A world in which operations can be cut short at every ledger write and every provider call.
 *
 * One ledger, one cloud; each `runtime` is a process over them. A runtime that crashes answers nothing any more, not even
 * to its own heartbeat: what is left is what a killed process leaves.
 */
import { execFileSync } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Faults from "@org/sandbox-conformance/Faults"
import { Directories } from "@org/sandbox-core/Host"
import { Ledger } from "@org/sandbox-core/Ledger"
import * as MemoryProvisioner from "@org/sandbox-core/MemoryProvisioner"
import { Provisioner, type ProvisionerShape } from "@org/sandbox-core/Provisioner"
import { Provisioners } from "@org/sandbox-core/Provisioners"
import * as SqlLedger from "@org/sandbox-core/SqlLedger"
import { Context, Deferred, Effect, type Exit, Fiber, Layer, Scope } from "effect"
import { afterAll } from "vitest"
import * as NodePorts from "../../packages/core/src/node/NodePorts.ts"
import * as NodeProcesses from "../../packages/core/src/node/NodeProcesses.ts"
import { databases, temporaryDirectory } from "../../packages/core/test/support/databases.ts"
import * as support from "../../packages/core/test/support/world.ts"

export { databases }

/** A repository with branches main and topic, made once per test file. */
export const repository = (): string => {
  const directory = mkdtempSync(join(tmpdir(), "sandbox-repository-"))
  const git = (...args: ReadonlyArray<string>) =>
    execFileSync("git", ["-c", "user.name=t", "-c", "user.email=t@example.invalid", ...args], {
      cwd: directory,
      stdio: "pipe"
    })
  git("init", "--quiet", "--initial-branch=main")
  writeFileSync(join(directory, "a.txt"), "one\n")
  git("add", ".")
  git("commit", "--quiet", "-m", "one")
  git("branch", "topic")
  afterAll(() => rmSync(directory, { recursive: true, force: true }))
  return directory
}

/** How a runtime ends at a point: killed (nothing runs any more), or interrupted (its finalizers run). */
export type Ending = "kill" | "interrupt"

/** The points a runtime passes, in order, and the one it ends at. */
export class Points {
  readonly passed: Array<string> = []
  readonly reached = Deferred.makeUnsafe<string>()
  dead = false
  private target: Fiber.Fiber<unknown, unknown> | undefined
  private readonly stopAt: { readonly index: number; readonly ending: Ending } | undefined

  constructor(stopAt?: { readonly index: number; readonly ending: Ending }) {
    this.stopAt = stopAt
  }

  /** The fiber that an ending of kind `interrupt` interrupts. */
  watch(fiber: Fiber.Fiber<unknown, unknown>): void {
    this.target = fiber
  }

  pass(name: string): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (this.dead) return Effect.never
      const index = this.passed.length
      this.passed.push(name)
      if (this.stopAt === undefined || this.stopAt.index !== index) return Effect.void
      const reached = Deferred.succeed(this.reached, name)
      if (this.stopAt.ending === "kill") {
        this.dead = true
        return Effect.andThen(reached, Effect.never)
      }
      return Effect.andThen(
        reached,
        Effect.sync(() => this.target?.interruptUnsafe())
      )
    })
  }

  around<A, E, R>(name: string, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return this.pass(`${name}:before`).pipe(
      Effect.andThen(effect),
      Effect.tap(() => this.pass(`${name}:after`))
    )
  }

  /** A call that is no point of its own, but that a dead process does not make. */
  alive<A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return Effect.suspend(() => (this.dead ? Effect.never : effect))
  }
}

const cutLedger = (ledger: Ledger["Service"], points: Points): Ledger["Service"] => ({
  ...ledger,
  session: (id) => points.alive(ledger.session(id)),
  sessions: (query) => points.alive(ledger.sessions(query)),
  history: (id) => points.alive(ledger.history(id)),
  request: (key) => points.alive(ledger.request(key)),
  reserve: (reservation) => points.around("ledger.reserve", ledger.reserve(reservation)),
  acquire: (acquisition) => points.around(`ledger.acquire.${acquisition.claim.kind}`, ledger.acquire(acquisition)),
  renew: (claim) => points.alive(ledger.renew(claim)),
  commit: (write) =>
    points.around(`ledger.commit.${write.change.move?.to ?? write.change.phase ?? "same"}`, ledger.commit(write))
})

const cutProvider = (provider: ProvisionerShape, points: Points): ProvisionerShape => {
  const { start, workspace } = provider
  return {
    ...provider,
    scope: points.alive(provider.scope),
    inspect: (ref) => points.alive(provider.inspect(ref)),
    find: (key) => points.alive(provider.find(key)),
    preflight: (spec) => points.alive(provider.preflight(spec)),
    provision: (intent) => points.around("provider.provision", provider.provision(intent)),
    stop: (ref) => points.around("provider.stop", provider.stop(ref)),
    destroy: (target) => points.around("provider.destroy", provider.destroy(target)),
    ...(start === undefined ? {} : { start: (ref) => points.around("provider.start", start(ref)) }),
    ...(workspace === undefined
      ? {}
      : {
          workspace: {
            attach: (ref, source) => points.around("provider.attach", workspace.attach(ref, source)),
            status: (ref) => points.alive(workspace.status(ref)),
            detach: (ref) => points.around("provider.detach", workspace.detach(ref))
          }
        })
  }
}

export interface RuntimeOptions {
  readonly pid?: number
  readonly host?: string
  readonly principal?: string
  readonly points?: Points
}

/** Built once for all worlds of a file. */
const node = await Effect.runPromise(
  Layer.buildWithScope(Layer.mergeAll(NodeServices.layer, NodePorts.layer, NodeProcesses.layer), Scope.makeUnsafe())
)

/** One fresh ledger and one cloud, with the means to look at them and to run processes over them. */
export const make = Effect.fnUntraced(function* (database: (typeof databases)[number]) {
  const built = yield* Layer.build(
    SqlLedger.layer({ where: "test", mayInitialise: true }).pipe(
      Layer.provide(support.ids),
      Layer.provide(Layer.fresh(database.layer))
    )
  )
  const ledger = Context.get(built, Ledger)
  const cloud = MemoryProvisioner.makeCloud()
  const faults = Faults.make(MemoryProvisioner.make({ cloud }))
  const store = support.makeStore()
  const state = yield* temporaryDirectory
  const dead = new Set<number>()
  // one counter for all runtimes: two processes never make the same id
  const ids = yield* Layer.build(support.ids)
  let intercept = (ledger: Ledger["Service"]): Ledger["Service"] => ledger

  const runtime = (options: RuntimeOptions = {}) => {
    const points = options.points ?? new Points()
    const host = support.makeHost({ host: options.host ?? "host-1", pid: options.pid ?? 100 })
    for (const pid of dead) host.dead.add(pid)
    return Layer.mergeAll(
      Layer.succeed(Ledger)(cutLedger(intercept(ledger), points)),
      Provisioners.layer({ memory: Layer.succeed(Provisioner)(cutProvider(faults.provisioner, points)) }),
      host.layer,
      store.layer,
      support.hasher,
      Layer.succeed(Directories)({ state, cache: join(state, "cache") }),
      support.principal(options.principal ?? "ann"),
      Layer.succeedContext(ids),
      Layer.succeedContext(node)
    )
  }

  return {
    ledger,
    cloud,
    faults,
    store,
    /** What all runtimes keep beside the ledger. */
    state,
    runtime,
    /** From now on every host knows that this process is dead. */
    bury: (pid: number) => dead.add(pid),
    /** Puts something between new runtimes and the ledger. */
    interceptLedger: (f: (ledger: Ledger["Service"]) => Ledger["Service"]) => {
      intercept = f
    },
    /** Boxes that exist and run. */
    running: () => [...cloud.boxes.values()].filter(MemoryProvisioner.isRunning).length
  }
})

export type World = Effect.Success<ReturnType<typeof make>>

/**
 * Runs a program as a process that ends at its n-th point; `undefined` when it has fewer. A killed one answers nothing.
 */
export const endAt = Effect.fnUntraced(function* <A, E, R>(
  points: Points,
  program: Effect.Effect<A, E, R>
): Effect.fn.Return<Exit.Exit<A, E> | "killed", never, R> {
  const fiber = yield* Effect.forkDetach(program)
  points.watch(fiber)
  return yield* Effect.raceFirst(
    Fiber.await(fiber),
    Effect.andThen(
      Deferred.await(points.reached),
      Effect.suspend(() => (points.dead ? Effect.succeed("killed" as const) : Effect.never))
    )
  )
})
