import { createHash } from "node:crypto"
import { assert, layer } from "@effect/vitest"
import { layerPlatform } from "@org/sandbox-core/node"
import * as Location from "@org/sandbox-provider-docker/Location"
import { ConfigProvider, Effect, FileSystem, Layer, Redacted } from "effect"

/** A home directory with these files. */
const home = Effect.fnUntraced(function* (files: Readonly<Record<string, string>>) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* fs.makeTempDirectoryScoped({ prefix: "sandbox-docker-test-" })
  for (const [name, text] of Object.entries(files)) {
    yield* fs.makeDirectory(`${path}/${name.slice(0, Math.max(0, name.lastIndexOf("/")))}`, { recursive: true })
    yield* fs.writeFileString(`${path}/${name}`, text)
  }
  return path
})

const find = (
  options: Parameters<typeof Location.find>[0],
  env: Readonly<Record<string, string>>
): Effect.Effect<Effect.Success<ReturnType<typeof Location.find>>, any, any> =>
  Effect.provide(Location.find(options), ConfigProvider.layer(ConfigProvider.fromEnv({ env })))

const where = Effect.fnUntraced(function* (env: Readonly<Record<string, string>>, options: { host?: string } = {}) {
  const { address } = yield* find(options, env)
  return address._tag === "unix"
    ? address.path
    : address._tag === "tcp"
      ? `${address.host}:${address.port}`
      : address.target
})

const refusal = Effect.fnUntraced(function* (
  env: Readonly<Record<string, string>>,
  options: Parameters<typeof Location.find>[0] = {}
) {
  const { code, details, message, nextStep } = yield* Effect.flip(find(options, env))
  assert.strictEqual(code, "ERR_CONFIG_INVALID")
  return { field: details?.["field"], message: message as string, nextStep: nextStep as string }
})

const idOf = (name: string) => createHash("sha256").update(name).digest("hex")

const context = (name: string, docker: object = {}, directory = ".docker") => ({
  [`${directory}/contexts/meta/${idOf(name)}/meta.json`]: JSON.stringify({
    Name: name,
    Metadata: {},
    Endpoints: { docker }
  })
})

const colima = context("colima", { Host: "unix:///home/dev/.colima/default/docker.sock", SkipTLSVerify: false })
const pem = { "ca.pem": "the ca", "cert.pem": "the cert", "key.pem": "the key" }
const within = (directory: string, files: Readonly<Record<string, string>>) =>
  Object.fromEntries(Object.entries(files).map(([name, text]) => [`${directory}/${name}`, text]))

layer(Layer.orDie(layerPlatform))("the engine that is meant", (it) => {
  it.effect("is the one of the options, of DOCKER_HOST, of DOCKER_CONTEXT, of the context in use, in this order", () =>
    Effect.gen(function* () {
      const HOME = yield* home({
        ...colima,
        ...context("far", { Host: "ssh://dev@far" }),
        ".docker/config.json": JSON.stringify({ currentContext: "colima", auths: { "r.example": {} } })
      })
      const env = { HOME, DOCKER_HOST: "unix:///a.sock", DOCKER_CONTEXT: "far" }
      assert.strictEqual(yield* where(env, { host: "tcp://given:1" }), "given:1")
      assert.strictEqual(yield* where(env), "/a.sock")
      assert.strictEqual(yield* where({ ...env, DOCKER_HOST: "" }), "dev@far")
      assert.strictEqual(yield* where({ HOME }), "/home/dev/.colima/default/docker.sock")
      // no context is one that has a name
      assert.strictEqual(yield* where({ HOME, DOCKER_CONTEXT: "default" }), "/var/run/docker.sock")
    })
  )

  it.effect("is that of the standard socket where nothing says otherwise", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* where({ HOME: "/nowhere" }), "/var/run/docker.sock")
      assert.strictEqual(yield* where({}), "/var/run/docker.sock")
      const HOME = yield* home({ ".docker/config.json": `{"auths":{}}` })
      assert.strictEqual(yield* where({ HOME }), "/var/run/docker.sock")
      // a context that has no address of its own stands for it, too
      const bare = yield* home(context("bare"))
      assert.strictEqual(yield* where({ HOME: bare, DOCKER_CONTEXT: "bare" }), "/var/run/docker.sock")
    })
  )

  it.effect("is looked for where DOCKER_CONFIG says", () =>
    Effect.gen(function* () {
      const other = yield* home({
        "config.json": `{"currentContext":"x"}`,
        ...context("x", { Host: "tcp://x:9" }, ".")
      })
      assert.strictEqual(yield* where({ HOME: "/nowhere", DOCKER_CONFIG: other }), "x:9")
    })
  )

  it.effect("of a context is encrypted as the context says", () =>
    Effect.gen(function* () {
      const HOME = yield* home({
        ...context("safe", { Host: "tcp://safe", SkipTLSVerify: false }),
        ...within(`.docker/contexts/tls/${idOf("safe")}/docker`, pem),
        ...context("plain", { Host: "tcp://plain" }),
        ...context("any", { Host: "tcp://any", SkipTLSVerify: true })
      })
      // what is meant for DOCKER_HOST is not for a context
      const of = (name: string) => find({}, { HOME, DOCKER_CONTEXT: name, DOCKER_TLS_VERIFY: "1" })
      const safe = yield* of("safe")
      assert.deepStrictEqual(safe.address, { _tag: "tcp", host: "safe", port: 2376, tls: true })
      assert.deepInclude(safe.tls, { ca: "the ca", verify: true })
      assert.strictEqual(safe.tls.identity?.cert, "the cert")
      assert.strictEqual(safe.tls.identity && Redacted.value(safe.tls.identity.key), "the key")
      assert.notInclude(String(JSON.stringify(safe)), "the key")
      assert.deepStrictEqual((yield* of("plain")).address, { _tag: "tcp", host: "plain", port: 2375, tls: false })
      const any = yield* of("any")
      assert.deepStrictEqual(
        [any.address, any.tls.verify],
        [{ _tag: "tcp", host: "any", port: 2376, tls: true }, false]
      )
    })
  )

  it.effect("of a host is encrypted as the docker command's variables, or the options, say", () =>
    Effect.gen(function* () {
      const HOME = yield* home({ ...within(".docker", pem), ...within("mine", { "ca.pem": "my ca" }) })
      const tls = Effect.fnUntraced(function* (env: Readonly<Record<string, string>>, options = {}) {
        const { address, tls } = yield* find(options, { HOME, DOCKER_HOST: "tcp://h", ...env })
        return [address._tag === "tcp" && address.tls, tls.verify, tls.ca, tls.identity?.cert]
      })
      assert.deepStrictEqual(yield* tls({}), [false, true, undefined, undefined])
      assert.deepStrictEqual(yield* tls({ DOCKER_TLS_VERIFY: "1" }), [true, true, "the ca", "the cert"])
      assert.deepStrictEqual(yield* tls({ DOCKER_TLS: "1" }), [true, false, "the ca", "the cert"])
      assert.deepStrictEqual(yield* tls({ DOCKER_TLS: "1", DOCKER_TLS_VERIFY: "1" }), [
        true,
        true,
        "the ca",
        "the cert"
      ])
      const DOCKER_CERT_PATH = `${HOME}/mine`
      assert.deepStrictEqual(yield* tls({ DOCKER_CERT_PATH, DOCKER_TLS_VERIFY: "1" }), [true, true, "my ca", undefined])
      // that there are certificates does not mean that they are for this host
      assert.deepStrictEqual(yield* tls({ DOCKER_CERT_PATH }), [false, true, undefined, undefined])
      assert.deepStrictEqual(yield* tls({}, { certificates: DOCKER_CERT_PATH }), [true, true, "my ca", undefined])
      // and whoever writes https is never given less than a certificate that was checked
      assert.deepStrictEqual((yield* tls({}, { host: "https://h" })).slice(0, 2), [true, true])
    })
  )

  it.effect("that cannot be found is an error that names the setting", () =>
    Effect.gen(function* () {
      const HOME = yield* home({
        ".docker/config.json": `{"currentContext":"gone"}`,
        ...within(`.docker/contexts/meta/${idOf("kube")}`, {
          "meta.json": JSON.stringify({ Name: "kube", Endpoints: { kubernetes: {} } })
        }),
        ...context("odd", { Host: "tcp://" }),
        ...within("half", { "cert.pem": "c" }),
        "empty/x": ""
      })
      const config = `${HOME}/.docker/config.json`
      const prefix = "the Docker engine cannot be addressed: "
      assert.deepStrictEqual(yield* refusal({ HOME }), {
        field: config,
        message: `${prefix}there is no docker context gone; see \`docker context ls\``,
        nextStep: `correct ${config}, or name the engine in DOCKER_HOST`
      })
      assert.deepInclude(yield* refusal({ HOME, DOCKER_CONTEXT: "../../etc" }), { field: "DOCKER_CONTEXT" })
      assert.match((yield* refusal({ HOME, DOCKER_CONTEXT: "kube" })).message, /meta\.json cannot be understood/)
      assert.deepStrictEqual(yield* refusal({ HOME, DOCKER_CONTEXT: "odd" }), {
        field: "DOCKER_CONTEXT",
        message: `${prefix}tcp:// cannot be used: it names no host`,
        nextStep: "correct DOCKER_CONTEXT, or name the engine in DOCKER_HOST"
      })
      assert.deepStrictEqual(yield* refusal({ DOCKER_HOST: "nonsense" }), {
        field: "DOCKER_HOST",
        message: `${prefix}nonsense is no address of an engine; write unix:///path, tcp://host:port or ssh://user@host`,
        nextStep: "correct DOCKER_HOST"
      })
      assert.deepInclude(yield* refusal({}, { host: "ftp://h" }), { field: "providers.docker.options.host" })
      const tcp = { DOCKER_HOST: "tcp://h", DOCKER_TLS_VERIFY: "1" }
      assert.deepInclude(yield* refusal({ ...tcp, DOCKER_CERT_PATH: `${HOME}/empty` }), {
        field: "DOCKER_CERT_PATH",
        message: `${prefix}${HOME}/empty has neither ca.pem nor cert.pem and key.pem`
      })
      assert.deepInclude(yield* refusal(tcp, { certificates: `${HOME}/half` }), {
        field: "providers.docker.options.certificates",
        message: `${prefix}${HOME}/half has one of cert.pem and key.pem, and both are needed`
      })
    })
  )

  it.effect("is not guessed where the docker command's own configuration cannot be read", () =>
    Effect.gen(function* () {
      const damaged = yield* home({ ".docker/config.json": "{" })
      assert.match((yield* refusal({ HOME: damaged })).message, /config\.json cannot be understood/)
      const odd = yield* home({ ".docker/config.json/x": "a directory" })
      assert.match((yield* refusal({ HOME: odd })).message, /config\.json cannot be read/)
      // and it is not even looked at where the engine is named
      assert.strictEqual(yield* where({ HOME: damaged, DOCKER_HOST: "unix:///a.sock" }), "/a.sock")
    })
  )
})
