/** Compose services beside sessions on this host: real containers of the engine, brought up by whichever compose command this host has. */
import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs"
import { createServer, type Server } from "node:net"
import { join } from "node:path"
import { assert, it } from "@effect/vitest"
import { Effect, type Scope } from "effect"
import { describeDocker } from "./docker.ts"
import {
  composed,
  configuration,
  containersOf,
  convergesAfterKills,
  keeper,
  ok,
  ready,
  refused,
  starts
} from "./support/composed.ts"
import * as docker from "./support/docker.ts"
import { query, remains } from "./support/sandbox.ts"

const timeout = 300_000
const { base: image } = docker.images

/** Somebody else's listener. */
const listening = (port: number): Effect.Effect<Server, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.callback<Server>((resume) => {
      const server = createServer().listen(port, "127.0.0.1", () => resume(Effect.succeed(server)))
    }),
    (server) => Effect.sync(() => server.close())
  )

describeDocker("compose services", () => {
  it.live(
    "two sessions of one repository have services, ports and data of their own, from up to destroy",
    () =>
      Effect.gen(function* () {
        const c = yield* composed
        const [one, two] = [
          yield* ready(c, "-b", "one", "--base", "main"),
          yield* ready(c, "-b", "two", "--base", "main")
        ]
        const [first, second] = [c.port + 1, c.port + 2]
        assert.deepEqual([(yield* starts(first)).length, (yield* starts(second)).length], [1, 1])
        assert.notDeepEqual(yield* starts(first), yield* starts(second))
        for (const [session, port] of [
          [one, first],
          [two, second]
        ] as const) {
          const [container, ...others] = yield* containersOf(session.session_id)
          assert.deepEqual(others, [])
          assert.deepEqual(
            container.Ports.map(({ IP, PublicPort }: any) => [IP, PublicPort]),
            [["127.0.0.1", port]]
          )
        }
        const names = yield* c.left
        assert.lengthOf(names.volumes, 2)
        assert.lengthOf(names.networks, 2)

        const env = (yield* c.run(["env", one.session_id, "--format", "json"])).stdout
        assert.include(env, `"SANDBOX_DB_PORT":"${first}"`)
        assert.include(env, `"DB_PORT":"${first}"`)
        const status = (yield* c.run(["status", one.session_id, "--live", "--json"])).stdout
        assert.include(status, `"name":"db","port":${first}`)
        assert.include(status, `"healthy":true`)
        assert.include((yield* c.run(["ports", one.session_id, "--json"])).stdout, `"whose":"session"`)
        assert.deepInclude(yield* ok(c, "resume", one.session_id), { already: true })

        yield* ok(c, "down", one.session_id)
        assert.deepEqual(
          (yield* containersOf(one.session_id)).map(({ State }) => State),
          ["exited"]
        )
        assert.lengthOf(yield* starts(second), 1)
        const before = yield* starts(second)
        yield* ok(c, "resume", one.session_id)
        // the volume has what was written before, and what the start after it wrote
        assert.lengthOf(yield* starts(first), 2)
        assert.deepEqual(yield* starts(second), before)

        yield* ok(c, "destroy", one.session_id, "--force")
        assert.deepEqual(yield* docker.labelled(`org.sandbox.session=${one.session_id}`), docker.nothing)
        assert.lengthOf((yield* c.left).containers, 1)
        yield* ok(c, "destroy", two.session_id, "--force")
        assert.deepEqual(yield* c.left, docker.nothing)
        assert.deepEqual(readdirSync(join(c.w.state, "compose")), [])
        assert.strictEqual(readFileSync(join(c.w.repository, "compose.yaml"), "utf8"), keeper())
        assert.strictEqual(c.w.git("status", "--porcelain"), "")
      }),
    timeout
  )

  it.live(
    "I-96 fills variables and secrets in, and shows no secret but to the service itself",
    () =>
      Effect.gen(function* () {
        const canary = "canary-7f3a91"
        const c = yield* composed
        c.files({
          "compose.yaml": `
services:
  db:
    image: ${docker.images.postgres}
    environment: { POSTGRES_PASSWORD: "\${DB_PASSWORD}", POSTGRES_DB: "\${DB_NAME:-app}" }
    volumes: ["data:/var/lib/postgresql/data"]
    expose: [5432]
    healthcheck: { test: ["CMD", "pg_isready", "-h", "127.0.0.1"], interval: 1s, retries: 60 }
  after:
    image: ${image}
    depends_on: { db: { condition: service_healthy } }
    command: "true"
volumes: { data: }
`,
          "sandbox.yaml": `
provider: local
compose:
  file: compose.yaml
  services:
    - { name: db, port: ${c.port}, health: { tcp: true } }
    - { name: after }
env: { DB_NAME: mine }
secrets: [{ name: DB_PASSWORD, from: "env:HOST_PASSWORD" }]
`
        })
        const env = { HOST_PASSWORD: canary }
        const up = yield* c.run(["up", "--trust-config", "--json", "-b", "one", "--base", "main"], { env })
        assert.strictEqual(up.code, 0, up.stdout + up.stderr)
        const id = up.json().session_id
        const [container] = (yield* containersOf(id)).filter(({ State }) => State === "running")
        const { Config } = yield* docker.inspect("containers", container.Id)
        assert.includeMembers(Config.Env, [`POSTGRES_PASSWORD=${canary}`, "POSTGRES_DB=mine"])
        const folder = join(c.w.state, "compose", id)
        assert.strictEqual(statSync(folder).mode & 0o777, 0o700)
        for (const file of readdirSync(folder)) assert.strictEqual(statSync(join(folder, file)).mode & 0o777, 0o600)
        const logs = yield* c.run(["logs", id, "--service", "db", "--json"])
        assert.include(logs.stdout, "ready to accept connections")
        const destroyed = yield* c.run(["destroy", id, "--force", "--json"], { env })
        assert.strictEqual(destroyed.code, 0, destroyed.stdout + destroyed.stderr)
        assert.deepEqual(yield* c.left, docker.nothing)
        for (const said of [up, logs, destroyed]) assert.notInclude(said.stdout + said.stderr, canary)
        for (const table of ["sessions", "operations", "events", "checkpoints"]) {
          assert.notInclude(JSON.stringify(query(c.w.ledger, `SELECT * FROM ${table}`)), canary, table)
        }
      }),
    timeout
  )

  it.live(
    "I-91 no path leads out of the repository: not the file, not what it draws in, not what it shows to a service",
    () =>
      Effect.gen(function* () {
        const c = yield* composed
        writeFileSync(join(c.w.directory, "outside.yaml"), keeper())
        writeFileSync(join(c.w.directory, "outside.env"), "X=1\n")
        symlinkSync(join(c.w.directory, "outside.yaml"), join(c.w.repository, "link.yaml"))
        symlinkSync(c.w.directory, join(c.w.repository, "out"))
        const named = (file: string) => configuration(c.port).replace("compose.yaml", file)
        for (const file of ["../outside.yaml", "/etc/passwd", "link.yaml", "out/outside.yaml"]) {
          writeFileSync(join(c.w.repository, "sandbox.yaml"), named(file))
          const outcome = yield* refused(c, [1, "ERR_CONFIG_INVALID"], ["validate"])
          assert.include(outcome.stdout, "compose.file")
        }
        const service = (text: string) =>
          `services: { db: { image: "${image}", command: sleep 99, expose: [80], ${text} } }`
        for (const [text, field] of [
          [`volumes: ["../..:/x"]`, "services.db.volumes"],
          [`volumes: ["./out:/x"]`, "services.db.volumes"],
          [`volumes: ["/var/run/docker.sock:/x:ro"]`, "services.db.volumes"],
          [`build: { context: . , dockerfile: ../../Dockerfile }`, "services.db.build.dockerfile"],
          [`env_file: out/outside.env`, "services.db.env_file"],
          [`env_file: "\${HOME}/x"`, "services.db.env_file"],
          [`extends: { file: other.yaml, service: db }`, "services.db.extends.file"],
          [`volumes: ["/var/run:/x:ro"]`, "services.db.volumes"],
          [`network_mode: host`, "services.db.network_mode"],
          [`privileged: true`, "services.db.privileged"]
        ] as const) {
          c.files({ "compose.yaml": service(text), "other.yaml": keeper(), "sandbox.yaml": configuration(c.port) })
          const outcome = yield* refused(c, [1, "ERR_CONFIG_INVALID"], ["up", "--trust-config"])
          assert.strictEqual(outcome.json().details.field, field, text)
        }
        assert.deepEqual(yield* c.left, docker.nothing)
        assert.deepEqual(remains(c.w).boxes, [])
      }),
    timeout
  )

  it.live(
    "runs nothing of a compose file that was not accepted as it is",
    () =>
      Effect.gen(function* () {
        const c = yield* composed
        const untrusted = yield* refused(c, [1, "ERR_CONFIG_UNTRUSTED"], ["up"])
        assert.include(untrusted.stdout, `"runs":["compose.file"]`)
        yield* ok(c, "trust")
        c.files({ "compose.yaml": keeper("    privileged: true") })
        yield* refused(c, [1, "ERR_CONFIG_UNTRUSTED"], ["up"])
        // accepted is what is checked out here; the branch has another one
        c.w.git("switch", "--quiet", "--create", "evil")
        c.files({ "compose.yaml": keeper("    pid: host") })
        c.w.git("switch", "--quiet", "main")
        yield* ok(c, "trust")
        const evil = yield* refused(c, [1, "ERR_CONFIG_UNTRUSTED"], ["up", "-b", "evil"])
        assert.include(evil.json().cause, "evil")
        assert.deepEqual(yield* c.left, docker.nothing)
      }),
    timeout
  )

  it.live(
    "says what is wrong and leaves nothing: no command, no engine, a service that ends or never works, a bad file",
    () =>
      Effect.gen(function* () {
        const c = yield* composed
        const bin = join(c.w.directory, "bin")
        mkdirSync(bin)
        for (const name of ["git", "sh", "ps", "setsid", "sleep", "cat"]) {
          writeFileSync(join(bin, name), `#!/bin/sh\nexec /usr/bin/${name} "$@"\n`)
          chmodSync(join(bin, name), 0o755)
        }
        const up = ["up", "--trust-config"]
        const bare = yield* refused(c, [1, "ERR_UNSUPPORTED"], up, { env: { PATH: bin } })
        assert.include(bare.json().cause, "docker")
        const nobody = { env: { DOCKER_HOST: `unix://${c.w.directory}/nobody.sock` } }
        const away = yield* refused(c, [1, "ERR_PROVIDER_UNAVAILABLE"], up, nobody)
        assert.match(away.json().cause, /no Docker engine answers: Cannot connect to the Docker daemon/)
        assert.deepEqual(query(c.w.ledger, "SELECT id FROM sessions"), [])

        const db = (text: string) => `services: { db: { image: "${image}", init: true, expose: [80], ${text} } }`
        const cases = [
          [db(`command: ["sh", "-c", "echo alas; exit 3"]`), "ERR_SERVICE_FAILED", /ended with exit code 3/, /alas/],
          [db(`command: ["sh", "-c", "echo deaf; sleep 99"]`), "ERR_SERVICE_FAILED", /does not work after 3 s/, /deaf/],
          [
            db(`image: "sandbox-test/no-such:1"`).replace(`image: "${image}", `, ""),
            "ERR_SERVICE_FAILED",
            /could not be brought up: (?!Encountered)\w/,
            /./
          ],
          [
            "services: { other: { image: x } }",
            "ERR_CONFIG_INVALID",
            /there is no service db in it; it has other/,
            /./
          ],
          ["services: [", "ERR_CONFIG_INVALID", /compose\.yaml is no valid YAML/, /./],
          ["services: { db: { imagge: x } }", "ERR_CONFIG_INVALID", /compose\.yaml .*refuses it: .*imagge/, /./]
        ] as const
        const impatient = configuration(c.port).replace("health: /starts", "health: { tcp: true, timeout_s: 3 }")
        for (const [file, code, cause, output] of cases) {
          c.files({ "compose.yaml": file, "sandbox.yaml": impatient })
          const outcome = yield* refused(c, [code === "ERR_SERVICE_FAILED" ? 2 : 1, code], up)
          assert.match(outcome.json().cause, cause)
          assert.match(JSON.stringify(outcome.json().details), output)
          assert.deepEqual(yield* c.left, docker.nothing, file)
        }
        c.files({ "compose.yaml": keeper(), "sandbox.yaml": configuration(c.port) })
        yield* listening(c.port + 7)
        const taken = yield* refused(c, [2, "ERR_PORT_IN_USE"], [...up, "--port", `db=${c.port + 7}`])
        assert.include(taken.json().cause, String(c.port + 7))
        assert.deepEqual(remains(c.w).boxes, [])
      }),
    timeout
  )

  it.live(
    "killed at any moment of an up, the next command converges",
    () =>
      Effect.gen(function* () {
        yield* convergesAfterKills(yield* composed, 1, [
          ["compose", 0, "gc"],
          ["compose", 1500, "up"],
          ["compose", 3000, "gc"],
          ["service.db", 0, "gc"]
        ])
      }),
    timeout
  )

  it.live(
    "what the engine made without a name goes with the last container that has it, whatever becomes of the file",
    () =>
      Effect.gen(function* () {
        const c = yield* composed
        const own = join(c.w.directory, "own.yaml")
        writeFileSync(own, `provider: local\ncompose: { file: compose.yaml }\n`)
        const file = (command: string, more = "") => `
services:
  db: { image: "${image}", init: true, command: ${command}, volumes: ["/kept"] }
${more}
`
        c.files({
          "compose.yaml": file(
            "sleep 99",
            `  gone: { image: "${image}", init: true, command: sleep 99, volumes: ["/gone"] }`
          )
        })
        const { session_id: id, worktree_path: checkout } = yield* ready(
          c,
          "--config",
          own,
          "-b",
          "one",
          "--base",
          "main"
        )
        const volumes = Effect.flatMap(containersOf(id), (all) =>
          Effect.forEach(all, ({ Id }) =>
            Effect.map(docker.inspect("containers", Id), ({ Config, Mounts }) => [
              Config.Labels["com.docker.compose.service"],
              Mounts[0].Name
            ])
          )
        )
        const before = Object.fromEntries(yield* volumes)
        const isThere = (name: string) =>
          Effect.map(Effect.orDie(docker.request("GET", `/volumes/${name}`)), ({ status }) => status === 200)
        assert.isTrue(yield* isThere(before.gone))
        yield* ok(c, "down", id)
        writeFileSync(join(checkout, "compose.yaml"), file("sleep 98"))
        yield* ok(c, "resume", id)
        // another container has what the first one kept
        assert.deepEqual(yield* volumes, [["db", before.db]])
        assert.isFalse(yield* isThere(before.gone))
        yield* ok(c, "destroy", id, "--force", "--confirm-data-loss")
        assert.isFalse(yield* isThere(before.db))
        assert.deepEqual(yield* c.left, docker.nothing)
      }),
    timeout
  )

  it.live(
    "an image is built again where what it is made of has changed",
    () =>
      Effect.gen(function* () {
        const c = yield* composed
        const own = join(c.w.directory, "own.yaml")
        writeFileSync(own, `provider: local\ncompose: { file: compose.yaml }\n`)
        const dockerfile = (word: string) => `FROM ${image}\nCMD ["sh", "-c", "echo ${"$"}{WORD:-${word}}; sleep 99"]\n`
        c.files({
          "compose.yaml": "services: { db: { build: ., init: true } }\n",
          Dockerfile: dockerfile("first"),
          ".dockerignore": "*\n!Dockerfile\n"
        })
        const { session_id: id, worktree_path: checkout } = yield* ready(
          c,
          "--config",
          own,
          "-b",
          "one",
          "--base",
          "main"
        )
        yield* ok(c, "down", id)
        writeFileSync(join(checkout, "Dockerfile"), dockerfile("second"))
        yield* ok(c, "resume", id)
        const logs = yield* c.run(["logs", id, "--service", "db"])
        assert.include(logs.stdout, "second")
        yield* ok(c, "destroy", id, "--force", "--confirm-data-loss")
        assert.deepEqual(yield* c.left, docker.nothing)
      }),
    timeout
  )

  it.live(
    "I-92 gc halts and removes what sessions left behind, and touches nothing that does not carry our labels",
    () =>
      Effect.gen(function* () {
        const c = yield* composed
        // by its URL: the files are those of the branch's commit there, and the checkout is a clone
        const session = yield* ready(c, c.w.url, "-b", "one", "--base", "main")
        const id = session.session_id
        yield* ok(c, "down", id)
        const [{ Id, Labels }] = (yield* containersOf(id)) as [any]
        const stranger = { ...Labels, "org.sandbox.ledger": "ldg_of_others" }
        const cmd = { Image: image, Cmd: ["sleep", "999"] }
        const others = [
          yield* docker.create({ ...cmd, Labels: stranger }),
          yield* docker.create({
            ...cmd,
            Labels: { "com.docker.compose.project": Labels["com.docker.compose.project"] }
          })
        ]
        yield* Effect.addFinalizer(() =>
          Effect.forEach(others, (other) => docker.request("DELETE", `/containers/${other}?force=true`), {
            discard: true
          }).pipe(Effect.orDie)
        )
        yield* docker.start(Id)
        const planned = yield* ok(c, "gc", "--dry-run")
        assert.deepEqual(
          planned.actions.map(({ action }) => action),
          ["halt"]
        )
        yield* ok(c, "gc")
        assert.deepEqual((yield* containersOf(id)).find((one) => one.Id === Id)?.State, "exited")

        const away = { env: { DOCKER_HOST: `unix://${c.w.directory}/nobody.sock` } }
        const failed = yield* refused(c, [2, "ERR_DESTROY_FAILED"], ["destroy", id, "--force"], away)
        assert.include(failed.json().cause, "compose services")
        assert.deepEqual(query(c.w.ledger, "SELECT state AS id FROM sessions"), [{ id: "tearing_down" }])
        yield* ok(c, "destroy", id, "--force")
        assert.deepEqual(yield* c.left, docker.nothing)

        yield* docker.create({ ...cmd, Labels })
        yield* ok(c, "gc")
        assert.deepEqual(yield* c.left, docker.nothing)
        for (const other of others) assert.isDefined(yield* docker.inspect("containers", other))

        // what was given up here, and removed by hand on the engine, is not remembered for ever
        const { session_id: forgotten } = yield* ready(c, "-b", "two", "--base", "main")
        yield* ok(c, "destroy", forgotten, "--force", "--forget", "--confirm-data-loss")
        yield* docker.removeLabelled(`org.sandbox.session=${forgotten}`)
        assert.include(readdirSync(join(c.w.state, "compose")), forgotten)
        yield* ok(c, "gc", "--orphans")
        assert.deepEqual(readdirSync(join(c.w.state, "compose")), [])
      }),
    timeout
  )
})
