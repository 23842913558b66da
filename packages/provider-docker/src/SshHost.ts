/** An engine on another host, reached as the docker command reaches it: `ssh` runs `docker system dial-stdio` there. */
import { spawn } from "node:child_process"
import { type ClientRequest, Agent as HttpAgent } from "node:http"
import { Duplex } from "node:stream"
import type { Address } from "./Address.ts"
import { sshSilent } from "./DockerError.ts"

type Ssh = Address & { readonly _tag: "ssh" }

/** Keeps connections, each of them one `ssh`, for the next request. */
export class Agent extends HttpAgent {
  private readonly address: Ssh

  constructor(address: Ssh) {
    super({ keepAlive: true })
    this.address = address
  }

  override createConnection(_: object, answer: Answer): undefined {
    connect(this.address, answer)
    return undefined
  }

  // what these do by themselves only a socket of the system can
  override keepSocketAlive(): boolean {
    return true
  }

  override reuseSocket(_: Duplex, request: ClientRequest): void {
    request.reusedSocket = true
  }
}

type Answer = (error: Error | null, connection: Duplex) => void

/**
 * Makes connections, each of them one `ssh` that ends with it. Whom it asks, as whom and with which key is the business of
 * its own configuration.
 */
const connect = (address: Ssh, answer: Answer): void => {
  const ssh = spawn("ssh", argv(address), {
    stdio: ["pipe", "pipe", "pipe"],
    // a Ctrl-C ends this process in good order, and that order may need the engine
    detached: true
  })
  let words = ""
  let heard = false
  const connection = new Duplex({
    read: () => ssh.stdout.resume(),
    // where this fails ssh has ended, and says why as soon as all of its output is here
    write: (bytes, _encoding, done) => ssh.stdin.write(bytes, (error) => (error ? undefined : done())),
    final: (done) => ssh.stdin.end(() => done()),
    destroy: (error, done) => {
      ssh.kill("SIGTERM")
      done(error)
    }
  })
  for (const stream of [ssh.stdin, ssh.stdout, ssh.stderr, connection]) stream.on("error", () => {})
  ssh.stderr.on("data", (bytes) => {
    words = `${words}${bytes}`.slice(-2000)
  })
  ssh.stdout.on("data", (bytes) => {
    heard = true
    if (!connection.push(bytes)) ssh.stdout.pause()
  })
  ssh.on("spawn", () => answer(null, connection))
  ssh.on("error", ({ message }) => {
    if (ssh.pid === undefined) answer(problem(sshSilent, `ssh cannot be run: ${message}`), connection)
  })
  ssh.on("close", (code) => {
    if (code === 0 && heard) connection.push(null)
    else connection.destroy(problem(heard ? "ECONNRESET" : sshSilent, words.trim() || `ssh ended with code ${code}`))
  })
}

const problem = (code: string, message: string) => Object.assign(new Error(message), { code })

const argv = ({ path, port, target }: Ssh): ReadonlyArray<string> => [
  // nobody is there to be asked, and a host that is silent is to be told from a slow one
  ...["-o", "BatchMode=yes", "-o", "ConnectTimeout=30", "-T"],
  ...(port === undefined ? [] : ["-p", String(port)]),
  "--",
  target,
  ...(path === undefined ? ["docker"] : ["docker", "--host", quoted(`unix://${path}`)]),
  ...["system", "dial-stdio"]
]

/** As the shell on the other side reads it. */
const quoted = (text: string) => `'${text.replaceAll("'", "'\\''")}'`
