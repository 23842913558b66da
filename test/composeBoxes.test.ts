/** Compose services beside boxes: in the network of the box, with data of the session's own. */
import { existsSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { describeDocker } from "./docker.ts"
import {
  type Composed,
  composedIn,
  configuration,
  containersOf,
  convergesAfterKills,
  engine,
  keeper,
  ok,
  ready,
  refused
} from "./support/composed.ts"
import * as docker from "./support/docker.ts"
import { dockerWorld } from "./support/dockerWorld.ts"
import { query } from "./support/sandbox.ts"

const timeout = 300_000
const { postgres } = docker.images

const composed = Effect.fnUntraced(function* (options: object = {}) {
  return yield* composedIn(yield* dockerWorld(options), "docker")
})

/** What a command in a session's box writes. */
const inBox = Effect.fnUntraced(function* (c: Composed, session: string, script: string) {
  const { code, stderr, stdout } = yield* c.run(["exec", session, "--", "sh", "-c", script])
  assert.strictEqual(code, 0, stderr)
  return stdout.trim()
})

/** Which containers its database was, from the first on. */
const starts = (c: Composed, session: string) =>
  Effect.map(inBox(c, session, 'wget -qO- "http://$SANDBOX_DB_HOST:$DB_PORT/starts"'), (text) => text.split("\n"))

const networkOf = Effect.fnUntraced(function* (container: string) {
  const { NetworkSettings } = yield* docker.inspect("containers", container)
  const [network] = Object.values(NetworkSettings.Networks as Record<string, { NetworkID: string }>)
  return network!.NetworkID
})

const sessionsLeft = (c: Composed) => query(c.w.ledger, "SELECT id FROM sessions WHERE state <> 'destroyed'")

describeDocker("compose services beside boxes", () => {
  it.live(
    "two sessions see services of their own by name, with data of their own, from up to destroy",
    () =>
      Effect.gen(function* () {
        const c = yield* composed()
        const [one, two] = [
          yield* ready(c, "-b", "one", "--base", "main"),
          yield* ready(c, "-b", "two", "--base", "main")
        ]
        const [first, second] = [one.session_id, two.session_id]
        assert.lengthOf(yield* starts(c, first), 1)
        assert.notDeepEqual(yield* starts(c, first), yield* starts(c, second))
        assert.strictEqual(yield* inBox(c, first, "wget -qO- http://the-db/starts"), (yield* starts(c, first))[0])

        // what a box sees is the port in the container; what this host sees is of this host alone
        assert.strictEqual(yield* inBox(c, first, 'echo "$SANDBOX_DB_HOST $SANDBOX_DB_PORT $DB_PORT"'), "db 80 80")
        const [shown] = JSON.parse((yield* c.run(["ports", first, "--json"])).stdout).ports
        assert.deepInclude(shown, { name: "db", port: 80, whose: "session" })
        const page = yield* Effect.promise(async () => (await fetch(`${shown.url}/starts`)).text())
        assert.deepEqual(page.trim().split("\n"), yield* starts(c, first))
        for (const { Ports } of yield* containersOf(first)) {
          for (const { IP } of Ports.filter((port: any) => port.PublicPort !== undefined)) {
            assert.strictEqual(IP, "127.0.0.1")
          }
        }
        assert.include((yield* c.run(["status", first, "--live", "--json"])).stdout, '"healthy":true')

        yield* ok(c, "down", first)
        assert.notInclude(
          (yield* containersOf(first)).map(({ State }) => State),
          "running"
        )
        assert.lengthOf(yield* starts(c, second), 1)
        yield* ok(c, "resume", first)
        assert.lengthOf(yield* starts(c, first), 2)

        yield* ok(c, "destroy", first, "--force")
        assert.deepEqual(yield* docker.labelled(`org.sandbox.session=${first}`), docker.nothing)
        assert.lengthOf(yield* starts(c, second), 1)
        yield* ok(c, "destroy", second, "--force")
        assert.deepEqual(yield* c.left, docker.nothing)
        assert.deepEqual(readdirSync(join(c.w.state, "compose")), [])
      }),
    timeout
  )

  it.live(
    "a database answers under its own name and port, whatever port the configuration names",
    () =>
      Effect.gen(function* () {
        const c = yield* composed({ image: postgres })
        c.files({
          "compose.yaml": `
services:
  db:
    image: ${postgres}
    environment: { POSTGRES_PASSWORD: secret, POSTGRES_DB: app }
    volumes: ["data:/var/lib/postgresql/data"]
    expose: [5432]
    networks: [back]
    healthcheck: { test: ["CMD", "pg_isready", "-h", "127.0.0.1"], interval: 1s, retries: 60 }
networks: { back: }
volumes: { data: }
`,
          "sandbox.yaml": `
provider: docker
compose:
  file: compose.yaml
  services: [{ name: db, port: ${c.port}, host_env: PGHOST, port_env: PGPORT, health: { tcp: true } }]
env: { PGDATABASE: app, PGUSER: postgres, PGPASSWORD: secret }
`
        })
        const { session_id: id } = yield* ready(c, "-b", "one", "--base", "main")
        const psql = (sql: string) => inBox(c, id, `psql -At -c '${sql}'`)
        yield* psql("CREATE TABLE kept (n int); INSERT INTO kept VALUES (42)")
        assert.strictEqual(yield* inBox(c, id, 'echo "$PGHOST:$PGPORT"'), "db:5432")
        yield* ok(c, "down", id)
        yield* ok(c, "resume", id)
        assert.strictEqual(yield* psql("SELECT n FROM kept"), "42")
        yield* ok(c, "destroy", id, "--force")
        assert.deepEqual(yield* c.left, docker.nothing)
      }),
    timeout
  )

  it.live(
    "what it mounts is the checkout as it was at the last up, and can only be read",
    () =>
      Effect.gen(function* () {
        const c = yield* composed()
        const sites = keeper().replace('["data:/data"]', '["data:/data", "./site:/data/site"]')
        mkdirSync(join(c.w.repository, "site"))
        c.files({ "compose.yaml": sites, "site/page": "first\n" })
        const { session_id: id, warnings } = yield* ready(c, "-b", "one", "--base", "main")
        assert.match(warnings.join(), /services\.db\.volumes .*only read/)
        const page = inBox(c, id, 'wget -qO- "http://db/site/page"')
        assert.strictEqual(yield* page, "first")
        yield* inBox(c, id, "echo second >site/page")
        assert.strictEqual(yield* page, "first")
        yield* ok(c, "down", id)
        yield* ok(c, "resume", id)
        assert.strictEqual(yield* page, "second")
        const [db] = yield* containersOf(id)
        const { Mounts } = yield* docker.inspect("containers", db!.Id)
        assert.deepEqual(Mounts.map(({ RW, Type }: any) => [Type, RW]).toSorted(), [
          ["bind", false],
          ["volume", true]
        ])
        yield* ok(c, "destroy", id, "--force")
        assert.isFalse(existsSync(join(c.w.state, "compose", id)))
      }),
    timeout
  )

  it.live(
    "I-91 what a box writes into its compose file is not run on this host's engine, and reaches nothing of this host",
    () =>
      Effect.gen(function* () {
        const c = yield* composed()
        const own = join(c.w.directory, "own.yaml")
        writeFileSync(own, configuration(c.port, "docker"))
        const { session_id: id } = yield* ready(c, "--config", own, "-b", "one", "--base", "main")
        yield* inBox(c, id, "sed -i 's/init: true/init: true\\n    cap_drop: [ALL]/' compose.yaml")
        yield* inBox(c, id, "grep -q cap_drop compose.yaml")
        yield* ok(c, "down", id)
        const changed = yield* refused(c, [1, "ERR_CONFIG_UNTRUSTED"], ["resume", id])
        assert.match(changed.json().cause, /compose\.yaml in the box is not what the session was first brought up with/)
        assert.deepEqual(query(c.w.ledger, "SELECT state AS id FROM sessions"), [{ id: "stopped" }])
        // as its next step says
        yield* ok(c, "cp", join(c.w.repository, "compose.yaml"), `${id}:compose.yaml`)
        yield* ok(c, "resume", id)
        assert.lengthOf(yield* starts(c, id), 2)
        yield* ok(c, "destroy", id, "--force", "--confirm-data-loss")

        for (const [more, field] of [
          ["    cap_add: [SYS_ADMIN]", "services.db.cap_add"],
          ["    pid: host", "services.db.pid"],
          ['    volumes: ["/etc:/x:ro"]', "services.db.volumes"]
        ] as const) {
          const text = more.includes("volumes") ? keeper().replace('    volumes: ["data:/data"]', more) : keeper(more)
          c.files({ "compose.yaml": text })
          const outcome = yield* refused(c, [1, "ERR_CONFIG_INVALID"], ["up", "--trust-config"])
          assert.strictEqual(outcome.json().details.field, field)
          assert.include(outcome.json().next_step, "compose.services")
        }
        // in the box it leads nowhere; on this host it would be read for what is filled in
        symlinkSync(join(c.w.repository, "own.env"), join(c.w.repository, ".env"))
        c.files({ "compose.yaml": keeper(), "own.env": "SECRET=1\n" })
        const linked = yield* refused(c, [1, "ERR_CONFIG_INVALID"], ["up", "--trust-config"])
        assert.strictEqual(linked.json().details.field, ".env")
        assert.deepEqual(yield* c.left, docker.nothing)
      }),
    timeout
  )

  it.live(
    "a network that somebody removed from under a halted session is made again, and everything is in it",
    () =>
      Effect.gen(function* () {
        const c = yield* composed()
        const { session_id: id } = yield* ready(c, "-b", "one", "--base", "main")
        yield* ok(c, "down", id)
        const [halted] = yield* containersOf(id)
        const network = yield* networkOf(halted!.Id)
        yield* docker.request("DELETE", `/networks/${network}`)
        yield* ok(c, "resume", id)
        assert.lengthOf(yield* starts(c, id), 2)
        const all = yield* containersOf(id)
        assert.strictEqual(new Set(yield* Effect.forEach(all, ({ Id }) => networkOf(Id))).size, 1)
        yield* ok(c, "destroy", id, "--force")
        assert.deepEqual(yield* c.left, docker.nothing)
      }),
    timeout
  )

  it.live(
    "are refused where the box has no network of its own, or the docker command asks another engine; nothing is left",
    () =>
      Effect.gen(function* () {
        for (const network of ["none", "bridge"]) {
          const c = yield* composed({ network })
          const outcome = yield* refused(c, [1, "ERR_UNSUPPORTED"], ["up", "--trust-config"])
          assert.include(outcome.json().cause, `"network" is ${network}`)
          assert.deepEqual(yield* c.left, docker.nothing)
        }
        const c = yield* composed({ host: engine.DOCKER_HOST ?? "unix:///var/run/docker.sock" })
        const elsewhere = { env: { DOCKER_HOST: `unix://${c.w.directory}/nobody.sock` } }
        yield* refused(c, [1, "ERR_PROVIDER_UNAVAILABLE"], ["up", "--trust-config"], elsewhere)
        assert.deepEqual(sessionsLeft(c), [])
      }),
    timeout
  )

  it.live(
    "gc removes what was forgotten, services before the network that they are in",
    () =>
      Effect.gen(function* () {
        const c = yield* composed()
        const { session_id: id } = yield* ready(c, "-b", "one", "--base", "main")
        yield* ok(c, "destroy", id, "--force", "--forget", "--confirm-data-loss")
        assert.lengthOf((yield* c.left).containers, 2)
        yield* ok(c, "gc", "--orphans")
        assert.deepEqual(yield* c.left, docker.nothing)
        assert.isFalse(existsSync(join(c.w.state, "compose", id)))
      }),
    timeout
  )

  it.live(
    "killed at any moment of an up, the next command converges",
    () =>
      Effect.gen(function* () {
        yield* convergesAfterKills(yield* composed(), 2, [
          ["compose-files", 0, "gc"],
          ["compose", 500, "up"],
          ["compose", 1500, "gc"],
          ["service.db", 0, "gc"]
        ])
      }),
    timeout
  )
})
