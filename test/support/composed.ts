/** A world whose sessions have compose services beside them. */
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert } from "@effect/vitest"
import { Effect } from "effect"
import * as docker from "./docker.ts"
import { vacant } from "./ports.ts"
import { sampled } from "./sample.ts"
import { eventually, type Outcome, query, remains, type StartOptions, type World, world } from "./sandbox.ts"

const { base: image } = docker.images

/** A service that keeps what it is told in a volume, and shows it at its port. */
export const keeper = (more = "") => `
services:
  db:
    image: ${image}
    init: true
    container_name: the-db
    command: ["sh", "-c", "echo $$HOSTNAME >>/data/starts; exec httpd -f -p 80 -h /data"]
    ports: ["8080:80"]
    volumes: ["data:/data"]
${more}
volumes:
  data: { name: the-data }
`

export const configuration = (port: number, provider = "local") => `
provider: ${provider}
compose:
  file: compose.yaml
  services:
    - name: db
      port: ${port}
      port_env: DB_PORT
      health: /starts
`

export interface Composed {
  readonly w: World
  readonly port: number
  /** Writes the files and commits them. */
  readonly files: (files: Readonly<Record<string, string>>) => void
  readonly run: (args: ReadonlyArray<string>, options?: StartOptions) => Effect.Effect<Outcome>
  /** What is left of the sessions of this world on the engine. */
  readonly left: Effect.Effect<Effect.Success<ReturnType<typeof docker.labelled>>>
}

/** Which engine, and which compose command, as whoever runs the tests has chosen. */
export const engine: Readonly<Record<string, string>> = Object.fromEntries(
  ["DOCKER_HOST", "DOCKER_CONFIG"].flatMap((name) => {
    const value = process.env[name]
    return value === undefined ? [] : [[name, value]]
  })
)

/** A world with a compose file; what its sessions have on the engine is gone with the test, however it ends. */
export const composedIn = Effect.fnUntraced(function* (w: World, provider?: string) {
  const port = yield* vacant(20)
  const label = Effect.sync(() => {
    const [meta] = query<{ value: string }>(w.ledger, "SELECT value FROM meta WHERE name = 'ledger_id'")
    return `org.sandbox.ledger=${meta!.value}`
  })
  const known = Effect.orElseSucceed(
    Effect.try(() => Effect.runSync(label)),
    () => undefined
  )
  yield* Effect.addFinalizer(() =>
    Effect.flatMap(known, (label) => (label === undefined ? Effect.void : docker.removeLabelled(label)))
  )
  const files: Composed["files"] = (files) => {
    for (const [name, text] of Object.entries(files)) writeFileSync(join(w.repository, name), text)
    w.git("add", "--all")
    w.git("commit", "--quiet", "--allow-empty", "--message", "files")
  }
  files({ "compose.yaml": keeper(), "sandbox.yaml": configuration(port, provider) })
  const made: Composed = {
    w,
    port,
    files,
    run: (args, options = {}) => w.run(args, { cwd: w.repository, ...options, env: { ...engine, ...options.env } }),
    left: Effect.flatMap(label, (label) => docker.labelled(label))
  }
  return made
})

export const composed = Effect.flatMap(world, (w) => composedIn(w))

export const ready = Effect.fnUntraced(function* (c: Composed, ...args: ReadonlyArray<string>) {
  const outcome = yield* c.run(["up", "--trust-config", "--json", ...args])
  assert.strictEqual(outcome.code, 0, outcome.stdout + outcome.stderr)
  return outcome.json()
})

export const ok = Effect.fnUntraced(function* (c: Composed, ...args: ReadonlyArray<string>) {
  const outcome = yield* c.run([...args, "--json"])
  assert.strictEqual(outcome.code, 0, outcome.stdout + outcome.stderr)
  return outcome.json()
})

export const refused = Effect.fnUntraced(function* (
  c: Composed,
  [code, error]: readonly [number, string],
  args: ReadonlyArray<string>,
  options?: StartOptions
) {
  const outcome = yield* c.run([...args, "--json"], options)
  assert.strictEqual(outcome.json().error_code, error, outcome.stdout + outcome.stderr)
  assert.strictEqual(outcome.code, code, outcome.stdout)
  return outcome
})

export const starts = (port: number) =>
  Effect.promise(async () => (await (await fetch(`http://127.0.0.1:${port}/starts`)).text()).trim().split("\n"))

export const containersOf = (id: string) => docker.containers(`org.sandbox.session=${id}`)

/** A moment of an `up`: milliseconds after a phase has begun, and what the next command is. */
export type Moment = readonly [phase: string, delay: number, next: "gc" | "up"]

/** Kills an `up` at each moment; the next command gets on with it, with so many containers, and nothing is left in the end. */
export const convergesAfterKills = Effect.fnUntraced(function* (
  c: Composed,
  containers: number,
  moments: ReadonlyArray<Moment>
) {
  for (const [phase, delay, next] of sampled(moments, 2)) {
    const request = ["up", "--trust-config", "--json", "--client-request-id", `${phase}.${delay}`]
    yield* Effect.scoped(
      Effect.gen(function* () {
        const running = yield* c.w.start(request, { cwd: c.w.repository, env: engine })
        yield* running.saw(`up: ${phase} …`)
        yield* Effect.sleep(delay)
        running.signal("SIGKILL")
        yield* running.ended
      })
    )
    const outcome = yield* c.run(next === "up" ? request : ["gc", "--json"])
    assert.strictEqual(outcome.code, 0, outcome.stdout + outcome.stderr)
    for (const { id } of query<{ id: string }>(c.w.ledger, "SELECT id FROM sessions WHERE state <> 'destroyed'")) {
      if (next === "up") assert.lengthOf(yield* containersOf(id), containers)
      yield* ok(c, "destroy", id, "--force")
    }
    assert.deepEqual(yield* c.left, docker.nothing, `${phase} ${delay}`)
    yield* eventually("nobody works on it any more", () => remains(c.w).processes.length === 0)
  }
})
