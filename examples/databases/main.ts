/**
 * Two sessions of one repository, each in a container with a database of its own: `node main.ts <directory>`.
 *
 * Sessions are brought up with the command line, as `app/sandbox.yaml` says; the queries go through the SDK.
 */
import { execFile, execFileSync } from "node:child_process"
import { cpSync, mkdirSync } from "node:fs"
import { join, resolve } from "node:path"
import { promisify } from "node:util"
import { createClient } from "@org/sandbox-core/promise"

const directory = resolve(process.argv[2] ?? "databases")
const repository = join(directory, "app")

// nothing of the user's own: neither configuration nor sessions, wherever those are recorded
for (const name of Object.keys(process.env)) if (name.startsWith("SANDBOX_")) delete process.env[name]
for (const kind of ["config", "state", "cache"]) process.env[`XDG_${kind.toUpperCase()}_HOME`] = join(directory, kind)

const git = (...args: ReadonlyArray<string>) =>
  execFileSync("git", ["-C", repository, "-c", "user.name=Ann", "-c", "user.email=ann@example.com", ...args])

const sandbox = async (...args: ReadonlyArray<string>) =>
  (await promisify(execFile)("sandbox", [...args], { cwd: repository })).stdout

const docker = (...args: ReadonlyArray<string>) =>
  execFileSync("docker", args, { encoding: "utf8" })
    .split("\n")
    .filter((line) => line !== "")

mkdirSync(directory, { recursive: true })
cpSync(join(import.meta.dirname, "app"), repository, { recursive: true, errorOnExist: true, force: false })
git("init", "--quiet", "--initial-branch=main")
git("add", ".")
git("commit", "--quiet", "--message=Notes")

const client = createClient({ providers: { docker: { use: () => import("@org/sandbox-provider-docker") } } })

/** What a query answers, asked in the session's own container: host, port and password are in its environment. */
const query = async (session: string, sql: string): Promise<string> => {
  const psql = await client.exec({
    session,
    argv: ["psql", "--quiet", "--tuples-only", "--no-align", "--command", sql]
  })
  const decoder = new TextDecoder()
  let text = ""
  for await (const { bytes } of psql.output) text += decoder.decode(bytes, { stream: true })
  const { code } = await psql.exit
  if (code !== 0) throw new Error(`psql ended with ${code}: ${text}`)
  return text.trim().split("\n").join(", ")
}

const notes = (session: string) => query(session, "SELECT author || ': ' || text FROM notes ORDER BY text")

const started: Array<string> = []
try {
  // who has read sandbox.yaml and compose.yaml accepts what they run on this machine
  await sandbox("trust", ".", "--quiet")
  for (const author of ["ann", "bob"]) {
    const up = JSON.parse(await sandbox("up", ".", "--branch", author, "--base", "main", "--json", "--quiet"))
    started.push(up.session_id)
    await query(up.session_id, `INSERT INTO notes VALUES ('${author}', 'hello from ${up.name}')`)
  }
  const [ann = "", bob = ""] = started
  console.log(`ann's database has "${await notes(ann)}", bob's has "${await notes(bob)}"`)
  console.log(await sandbox("ports", bob))

  await client.down({ session: ann })
  console.log(`ann is down; bob's database still has "${await notes(bob)}"`)
  await client.resume({ session: ann })
  console.log(`ann is back, and her database has "${await notes(ann)}"`)

  for (const session of started) await client.destroy({ session, force: true })
  const left = ["ps --all", "volume ls", "network ls"].map((kind) =>
    started.flatMap((session) =>
      docker(...kind.split(" "), "--quiet", "--filter", `label=org.sandbox.session=${session}`)
    )
  )
  console.log(`left: ${left.map((found) => found.length).join(", ")} containers, volumes, networks`)
} finally {
  try {
    for (const session of started) await client.destroy({ session, force: true, confirmDataLoss: true })
  } finally {
    await client.close()
  }
}
