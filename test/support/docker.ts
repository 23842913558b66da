/** The engine of this machine as it is, for tests: what it has, by label, and the removal of that. */
import { type Agent, request as http, type IncomingHttpHeaders } from "node:http"
import { Data, Effect } from "effect"

/** Where it listens. */
export const socket = (process.env["DOCKER_HOST"] ?? "unix:///var/run/docker.sock").replace(/^unix:\/\//, "")

/** The images that `scripts/docker-images.sh` makes. */
export const images = {
  /** busybox: a shell, the usual tools, and nobody but root. */
  base: "sandbox-test/base:1",
  /** Debian's bash, GNU tools, git and python3. */
  git: "sandbox-test/git:1",
  /** A PostgreSQL server on port 5432; takes POSTGRES_PASSWORD, POSTGRES_USER, POSTGRES_DB and PGDATA. */
  postgres: "sandbox-test/postgres:1",
  /** No shell: `sleep` is the only program. */
  noshell: "sandbox-test/noshell:1",
  /** Its entrypoint prints a line and exits with 3. */
  exits: "sandbox-test/exits:1",
  /** As base, and runs as 1234:1234, who is `dev` at home in /home/dev. */
  user: "sandbox-test/user:1"
} as const

/** Nothing was answered. */
export class NoAnswer extends Data.TaggedError("NoAnswer")<{
  readonly message: string
  /** What the system says: `ECONNREFUSED`, `ECONNRESET`, … */
  readonly code: string | undefined
}> {}

export interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
  readonly json: () => any
}

export interface Asking {
  /** The path of its socket, unless it is this machine's. */
  readonly at?: string
  /** Sent as JSON, or as it is. */
  readonly body?: unknown
  readonly type?: string
  /** Keeps connections for further requests. */
  readonly agent?: Agent | false
}

/** Asks an engine, on a connection of its own unless an agent has one; whatever the status, it is the answer. */
export const request = (
  method: string,
  path: string,
  { agent = false, at = socket, body, type = "application/json" }: Asking = {}
): Effect.Effect<Answer, NoAnswer> =>
  Effect.callback((resume) => {
    const sent = body === undefined || Buffer.isBuffer(body) ? body : JSON.stringify(body)
    const headers = { host: "docker", ...(sent !== undefined && { "content-type": type }) }
    const failed = ({ code, message }: NodeJS.ErrnoException) => resume(Effect.fail(new NoAnswer({ message, code })))
    const asked = http({ socketPath: at, method, path, headers, agent }, (response) => {
      const chunks: Array<Buffer> = []
      response.on("data", (chunk: Buffer) => void chunks.push(chunk))
      response.on("error", failed)
      response.on("end", () => {
        const body = Buffer.concat(chunks)
        const { headers, statusCode: status = 0 } = response
        resume(Effect.succeed({ status, headers, body, json: () => JSON.parse(body.toString()) }))
      })
    })
    asked.on("error", failed)
    asked.end(sent)
    return Effect.sync(() => asked.destroy())
  })

/** As `request`, and a refusal is a defect of the test. */
const must = (method: string, path: string, body?: unknown): Effect.Effect<Answer> =>
  Effect.flatMap(Effect.orDie(request(method, path, { body })), (answer) =>
    answer.status < 400
      ? Effect.succeed(answer)
      : Effect.die(new Error(`${method} ${path}: ${answer.status} ${answer.body}`))
  )

const withLabels = (labels: ReadonlyArray<string>) => `filters=${encodeURIComponent(JSON.stringify({ label: labels }))}`

/** All containers, running or not, that carry all of the labels; each `name` or `name=value`. */
export const containers = (...labels: ReadonlyArray<string>): Effect.Effect<ReadonlyArray<any>> =>
  Effect.map(must("GET", `/containers/json?all=true&${withLabels(labels)}`), ({ json }) => json())

export const volumes = (...labels: ReadonlyArray<string>): Effect.Effect<ReadonlyArray<any>> =>
  Effect.map(must("GET", `/volumes?${withLabels(labels)}`), ({ json }) => json().Volumes ?? [])

export const networks = (...labels: ReadonlyArray<string>): Effect.Effect<ReadonlyArray<any>> =>
  Effect.map(must("GET", `/networks?${withLabels(labels)}`), ({ json }) => json())

/** All that the engine knows of a thing; nothing where there is none. */
export const inspect = Effect.fnUntraced(function* (kind: "containers" | "volumes" | "networks", id: string) {
  const path = `/${kind}/${encodeURIComponent(id)}${kind === "containers" ? "/json" : ""}`
  const answer = yield* Effect.orDie(request("GET", path))
  if (answer.status === 404) return undefined
  if (answer.status >= 400) return yield* Effect.die(new Error(`${path}: ${answer.status} ${answer.body}`))
  return answer.json()
})

/** Makes a container and answers its id. */
export const create = (config: object, name?: string): Effect.Effect<string> =>
  Effect.map(must("POST", `/containers/create${name ? `?name=${name}` : ""}`, config), ({ json }) => json().Id)

export const start = (id: string) => Effect.asVoid(must("POST", `/containers/${id}/start`))

/** Ends a container as a crash would, behind everybody's back. */
export const kill = (id: string) => Effect.asVoid(must("POST", `/containers/${id}/kill`))

/** The names of what carries all of the labels. */
export const labelled = (...labels: ReadonlyArray<string>) =>
  Effect.all({
    containers: Effect.map(containers(...labels), (all) => all.map(({ Names }): string => Names[0].slice(1)).sort()),
    volumes: Effect.map(volumes(...labels), (all) => all.map(({ Name }): string => Name).sort()),
    networks: Effect.map(networks(...labels), (all) => all.map(({ Name }): string => Name).sort())
  })

/** What `labelled` tells where nothing is left. */
export const nothing = { containers: [], volumes: [], networks: [] }

/** Removes a thing; that it is gone already is fine. */
const remove = Effect.fnUntraced(function* (path: string) {
  const { body, status } = yield* Effect.orDie(request("DELETE", path))
  // 409: its removal is under way
  if (status >= 400 && status !== 404 && status !== 409) {
    return yield* Effect.die(new Error(`DELETE ${path}: ${status} ${body}`))
  }
})

/** Removes whatever carries all of the labels, running or not. At least one, or it would be everything there is. */
export const removeLabelled = Effect.fnUntraced(function* (...labels: readonly [string, ...Array<string>]) {
  for (const { Id } of yield* containers(...labels)) yield* remove(`/containers/${Id}?force=true&v=true`)
  for (const { Name } of yield* volumes(...labels)) yield* remove(`/volumes/${encodeURIComponent(Name)}?force=true`)
  for (const { Id } of yield* networks(...labels)) yield* remove(`/networks/${Id}`)
})
