/** Real ways to an engine, for tests: a relay over TCP or TLS, whoever answers something else, and an OpenSSH server. */
import { execFileSync, spawn } from "node:child_process"
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { type AddressInfo, createServer, type Socket, connect as unix } from "node:net"
import { tmpdir, userInfo } from "node:os"
import { join } from "node:path"
import { createServer as createTlsServer, type TlsOptions } from "node:tls"
import type { Tls } from "@org/sandbox-provider-docker/DockerClient"
import { Effect, Redacted } from "effect"
import * as Docker from "../../../test/support/docker.ts"

/** A directory that is removed with the scope. */
export const directory = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "wires-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

/** Something that listens on a port of this host. */
export interface Listener {
  readonly port: number
  /** Its connections that are open. */
  readonly open: ReadonlySet<Socket>
}

/** Listens, and leaves each connection to a function; all of it is gone with the scope. */
export const listener = (serve: (socket: Socket) => void, tls?: TlsOptions): Effect.Effect<Listener, never, any> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.callback<Listener & { close: () => void }>((resume) => {
        const open = new Set<Socket>()
        const accept = (socket: Socket) => {
          open.add(socket)
          socket.on("error", () => {})
          socket.on("close", () => open.delete(socket))
          serve(socket)
        }
        const server =
          tls === undefined
            ? createServer({ allowHalfOpen: true }, accept)
            : createTlsServer({ ...tls, allowHalfOpen: true }, accept)
        server.on("tlsClientError", () => {})
        server.listen(0, "127.0.0.1", () => {
          const { port } = server.address() as AddressInfo
          const close = () => {
            server.close()
            for (const socket of open) socket.destroy()
          }
          resume(Effect.succeed({ port, open, close }))
        })
      }),
      ({ close }) => Effect.sync(close)
    ),
    ({ open, port }) => ({ open, port })
  )

/** The engine of this machine behind a port; `passed` is told of all that it says, and may say something else instead. */
export const relay = (tls?: TlsOptions, passed: (bytes: Buffer) => Buffer = (bytes) => bytes) =>
  listener((client) => {
    const engine = unix(Docker.socket)
    engine.on("error", () => client.destroy())
    client.on("close", () => engine.destroy())
    client.pipe(engine)
    engine.on("data", (bytes: Buffer) => {
      if (!client.write(passed(bytes))) engine.pause()
    })
    client.on("drain", () => engine.resume())
    engine.on("end", () => client.end())
  }, tls)

/** Answers whatever is asked with some bytes, and then does what it is told. */
export const answering = (bytes: string, then: (socket: Socket) => void = (socket) => socket.end(), tls?: TlsOptions) =>
  listener((socket) => void socket.once("data", () => socket.write(bytes, "latin1", () => then(socket))), tls)

const openssl = (cwd: string, ...args: ReadonlyArray<string>) =>
  execFileSync("openssl", args, { cwd, stdio: ["ignore", "ignore", "pipe"] })

const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]

/** Certificates of an authority of its own: for this host, for another one, out of date, and for a client. */
export const certificates = Effect.map(directory, (path) => {
  for (const ca of ["ca", "other"]) {
    openssl(
      path,
      "req",
      "-x509",
      ...key,
      "-keyout",
      `${ca}.key`,
      "-out",
      `${ca}.pem`,
      "-subj",
      `/CN=${ca}`,
      "-days",
      "1"
    )
  }
  const issue = (name: string, subject: string, days = 1) => {
    writeFileSync(join(path, `${name}.ext`), `subjectAltName=${subject}\n`)
    openssl(path, "req", ...key, "-keyout", `${name}.key`, "-out", `${name}.csr`, "-subj", `/CN=${name}`)
    const signed = ["x509", "-req", "-in", `${name}.csr`, "-CA", "ca.pem", "-CAkey", "ca.key", "-days", String(days)]
    openssl(path, ...signed, "-extfile", `${name}.ext`, "-out", `${name}.pem`)
  }
  issue("server", "DNS:localhost,IP:127.0.0.1")
  issue("elsewhere", "DNS:engine.example.com")
  issue("expired", "DNS:localhost,IP:127.0.0.1", -1)
  issue("client", "DNS:client")
  const read = (file: string) => readFileSync(join(path, file), "utf8")
  const ca = read("ca.pem")
  const identity = { cert: read("client.pem"), key: Redacted.make(read("client.key")) }
  return {
    path,
    /** What a server needs to be `name`. */
    server: (name: string): TlsOptions => ({ cert: read(`${name}.pem`), key: read(`${name}.key`) }),
    /** The same, and whoever connects must have a certificate. */
    demanding: (name: string): TlsOptions => ({
      ...{ cert: read(`${name}.pem`), key: read(`${name}.key`) },
      ...{ ca, requestCert: true, rejectUnauthorized: true }
    }),
    known: { ca, identity, verify: true } satisfies Tls,
    nameless: { ca, verify: true } satisfies Tls,
    stranger: { ca: read("other.pem"), verify: true } satisfies Tls,
    careless: { verify: false } satisfies Tls
  }
})

const sshd = "/usr/sbin/sshd"

/**
 * Why there is no OpenSSH server to test with, if there is none; naming `sshd` in SANDBOX_TEST_REQUIRE turns that into a
 * failure.
 */
export const noSshServer = existsSync(sshd) ? undefined : `there is no ${sshd}: install openssh-server`

if (noSshServer !== undefined && (process.env["SANDBOX_TEST_REQUIRE"] ?? "").split(",").includes("sshd")) {
  throw new Error(`SANDBOX_TEST_REQUIRE names sshd, but ${noSshServer}`)
}

/**
 * An OpenSSH server for this user alone, on a port of its own, and the variables with which `ssh` finds it: a wrapper of that
 * name is first on the PATH and names a configuration that knows the server and has the key.
 */
export const sshServer = Effect.gen(function* () {
  const path = yield* directory
  const file = (name: string, text: string, mode = 0o600) => {
    writeFileSync(join(path, name), text, { mode })
    return join(path, name)
  }
  for (const name of ["host", "user", "stranger"]) {
    execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", join(path, name)])
  }
  const { port } = yield* Effect.scoped(listener(() => {}))
  file("authorized_keys", readFileSync(join(path, "user.pub"), "utf8"))
  file(
    "sshd_config",
    [
      `Port ${port}`,
      "ListenAddress 127.0.0.1",
      `HostKey ${path}/host`,
      `AuthorizedKeysFile ${path}/authorized_keys`,
      `PidFile none`,
      "StrictModes no",
      "UsePAM no",
      "PasswordAuthentication no",
      "KbdInteractiveAuthentication no",
      "PermitRootLogin prohibit-password",
      // the engine's own command of this machine
      "SetEnv PATH=/usr/bin:/bin"
    ].join("\n")
  )
  const [type, hostKey] = readFileSync(join(path, "host.pub"), "utf8").split(" ")
  file("known_hosts", `[127.0.0.1]:${port} ${type} ${hostKey}\n`)
  file("no_hosts", "")
  const config = (name: string, identity: string, hosts: string) =>
    file(
      name,
      [
        "Host *",
        `  IdentityFile ${path}/${identity}`,
        "  IdentitiesOnly yes",
        "  IdentityAgent none",
        `  UserKnownHostsFile ${path}/${hosts}`,
        "  GlobalKnownHostsFile /dev/null",
        "  StrictHostKeyChecking yes"
      ].join("\n")
    )
  /** The directory of a wrapper around the system's ssh. */
  const wrapper = (name: string, configuration: string) => {
    mkdirSync(join(path, name))
    file(`${name}/ssh`, `#!/bin/sh\nexec /usr/bin/ssh -F ${configuration} "$@"\n`, 0o700)
    return join(path, name)
  }
  // a privileged server wants its empty directory, which the system makes when it starts one
  if (userInfo().uid === 0) mkdirSync("/run/sshd", { recursive: true, mode: 0o755 })
  yield* Effect.acquireRelease(
    Effect.callback<{ kill: () => void }, Error>((resume) => {
      const server = spawn(sshd, ["-D", "-e", "-f", join(path, "sshd_config")], { stdio: ["ignore", "ignore", "pipe"] })
      let words = ""
      server.stderr.on("data", (bytes) => {
        words += bytes
        if (words.includes("Server listening")) resume(Effect.succeed({ kill: () => server.kill("SIGKILL") }))
      })
      server.on("close", () => resume(Effect.fail(new Error(`sshd ended: ${words}`))))
    }),
    ({ kill }) => Effect.sync(kill)
  )
  return {
    port,
    address: `ssh://${userInfo().username}@127.0.0.1:${port}${Docker.socket}`,
    /** With the key, and knowing the server. */
    known: wrapper("known", config("config", "user", "known_hosts")),
    /** With a key that the server does not take. */
    locked: wrapper("locked", config("config-locked", "stranger", "known_hosts")),
    /** Not knowing the server. */
    unsure: wrapper("unsure", config("config-unsure", "user", "no_hosts"))
  }
})

/** Sets the first place on the PATH of this process for as long as the scope lasts. */
export const firstOnPath = (place: string) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const before = process.env["PATH"]
      process.env["PATH"] = `${place}:${before}`
      return before
    }),
    (before) =>
      Effect.sync(() => {
        process.env["PATH"] = before
      })
  )
