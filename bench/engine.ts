/** What a program without this library would ask of a Docker engine: raw calls on its socket, over connections that are kept. */
import { execFileSync, spawn } from "node:child_process"
import { once } from "node:events"
import { existsSync } from "node:fs"
import { Agent, request } from "node:http"
import type { Duplex } from "node:stream"

export const image = "sandbox-test/base:1"

const socketPath = (process.env["DOCKER_HOST"] ?? "unix:///var/run/docker.sock").replace(/^unix:\/\//, "")
const agent = new Agent({ keepAlive: true })
const api = "/v1.41"

interface Asked {
  /** Sent as JSON, or an archive as it is. */
  readonly body?: object | Buffer
}

/** What is looked at of an answer. */
interface Told {
  readonly Id: string
  readonly ExitCode: number
}

const ask = (method: string, path: string, { body }: Asked = {}): Promise<Told> =>
  new Promise((resolve, reject) => {
    const sent = body === undefined || Buffer.isBuffer(body) ? body : JSON.stringify(body)
    const type = Buffer.isBuffer(body) ? "application/x-tar" : "application/json"
    const headers = sent === undefined ? {} : { "content-type": type, "content-length": Buffer.byteLength(sent) }
    const asked = request({ socketPath, agent, method, path: `${api}${path}`, headers }, (response) => {
      const chunks: Array<Buffer> = []
      response.on("data", (chunk: Buffer) => chunks.push(chunk))
      response.on("error", reject)
      response.on("end", () => {
        const text = Buffer.concat(chunks).toString()
        const { statusCode = 0 } = response
        if (statusCode >= 400) reject(new Error(`${method} ${path}: ${statusCode} ${text}`))
        else resolve(JSON.parse(text || "{}"))
      })
    })
    asked.on("error", reject)
    asked.end(sent)
  })

/** Whether there is an engine, and the image that is measured with. */
export const isThere = (): Promise<boolean> =>
  ask("GET", `/images/${image}/json`).then(
    () => true,
    () => false
  )

/** A container that runs, with files copied in; nothing else of what a session has. */
export const up = async (name: string, files: Buffer): Promise<void> => {
  const HostConfig = { Init: true }
  await ask("POST", `/containers/create?name=${name}`, { body: { Image: image, Cmd: ["sleep", "86400"], HostConfig } })
  await ask("POST", `/containers/${name}/start`)
  await ask("PUT", `/containers/${name}/archive?path=/tmp`, { body: files })
}

/** The same with a volume, a network and limits, as a session has them. */
export const upLikewise = async (name: string, files: Buffer): Promise<void> => {
  await ask("POST", "/volumes/create", { body: { Name: name } })
  await ask("POST", "/networks/create", { body: { Name: name } })
  const HostConfig = {
    Init: true,
    NetworkMode: name,
    CapDrop: ["ALL"],
    PidsLimit: 4096,
    Memory: 4 * 2 ** 30,
    Mounts: [{ Type: "volume", Source: name, Target: "/sandbox" }]
  }
  await ask("POST", `/containers/create?name=${name}`, { body: { Image: image, Cmd: ["sleep", "86400"], HostConfig } })
  await ask("POST", `/containers/${name}/start`)
  await ask("PUT", `/containers/${name}/archive?path=/sandbox`, { body: files })
}

export const down = async (name: string): Promise<void> => {
  await ask("DELETE", `/containers/${name}?force=true&v=true`)
}

export const downLikewise = async (name: string): Promise<void> => {
  await down(name)
  await ask("DELETE", `/networks/${name}`)
  await ask("DELETE", `/volumes/${name}`)
}

/** Runs a command, reads what it writes and asks how it ended. */
export const exec = async (name: string, argv: ReadonlyArray<string>): Promise<number> => {
  const body = { Cmd: argv, AttachStdout: true, AttachStderr: true }
  const { Id } = await ask("POST", `/containers/${name}/exec`, { body })
  const connection = await new Promise<Duplex>((resolve, reject) => {
    const start = JSON.stringify({ Detach: false, Tty: false })
    const headers = {
      connection: "Upgrade",
      upgrade: "tcp",
      "content-type": "application/json",
      "content-length": start.length
    }
    const asked = request({ socketPath, method: "POST", path: `${api}/exec/${Id}/start`, headers })
    asked.on("upgrade", (_, socket) => resolve(socket))
    asked.on("error", reject)
    asked.end(start)
  })
  let bytes = 0
  connection.on("data", (chunk: Buffer) => (bytes += chunk.length))
  await once(connection, "end")
  connection.destroy()
  const { ExitCode } = await ask("GET", `/exec/${Id}/json`)
  if (ExitCode !== 0) throw new Error(`${argv} ended with ${ExitCode}`)
  return bytes
}

/** Debian's own client speaks the version of Debian's engine. */
const client = existsSync("/usr/bin/docker") ? "/usr/bin/docker" : "docker"

/** The docker command. */
export const command = (...args: ReadonlyArray<string>): void => void execFileSync(client, args, { stdio: "ignore" })

/** The same for several at once. */
export const commanded = async (...args: ReadonlyArray<string>): Promise<void> => {
  const [code] = await once(spawn(client, args, { stdio: "ignore" }), "exit")
  if (code !== 0) throw new Error(`docker ${args.join(" ")} ended with ${code}`)
}

export const close = (): void => agent.destroy()
