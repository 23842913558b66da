/**
 * Eight agents work on one repository at the same time, each in a session of its own: `node main.ts <directory>`.
 *
 * Sessions are brought up with the command line, as `app/sandbox.yaml` says; the agents work in them through the SDK.
 */
import { execFile, execFileSync } from "node:child_process"
import { copyFileSync, cpSync, mkdirSync } from "node:fs"
import { join, resolve } from "node:path"
import { promisify } from "node:util"
import { createClient } from "@org/sandbox-core/promise"
import { type Agent, work } from "./agent.ts"
import { inWords, traces } from "./traces.ts"

const directory = resolve(process.argv[2] ?? "parallel-agents")
const repository = join(directory, "app")
const names = Array.from({ length: 8 }, (_, index) => `agent-${index + 1}`)

// nothing of the user's own: neither configuration nor sessions, wherever those are recorded
for (const name of Object.keys(process.env)) if (name.startsWith("SANDBOX_")) delete process.env[name]
for (const kind of ["config", "state", "cache"]) process.env[`XDG_${kind.toUpperCase()}_HOME`] = join(directory, kind)

const git = (...args: ReadonlyArray<string>) =>
  execFileSync("git", ["-C", repository, "-c", "user.name=Ann", "-c", "user.email=ann@example.com", ...args])

const sandbox = async (...args: ReadonlyArray<string>) =>
  (await promisify(execFile)("sandbox", [...args], { cwd: repository })).stdout

mkdirSync(directory, { recursive: true })
cpSync(join(import.meta.dirname, "app"), repository, { recursive: true, errorOnExist: true, force: false })
copyFileSync(join(repository, ".env.example"), join(repository, ".env"))
git("init", "--quiet", "--initial-branch=main")
git("add", ".")
git("commit", "--quiet", "--message=Notes")

const started: Array<string> = []
const client = createClient({ providers: { local: { use: () => import("@org/sandbox-provider-local") } } })
try {
  // who has read sandbox.yaml accepts what it runs on this machine
  await sandbox("trust", ".", "--quiet")
  const agents = await all(names, async (name): Promise<Agent> => {
    const up = JSON.parse(await sandbox("up", ".", "--branch", name, "--base", "main", "--json", "--quiet"))
    started.push(up.session_id)
    return { name, session: up.session_id, url: up.endpoint_url, ports: Object.values(up.ports) }
  })

  for (const { commit, name, notes, url } of await all(agents, (agent) => work(client, agent))) {
    console.log(`${name} at ${url}: "${notes.join('", "')}", commit ${commit}`)
  }
  console.log(await sandbox("list"))
  console.log(`app-agent-3 is open at ${await sandbox("open", "app-agent-3", "--print")}`)

  const ports = agents.flatMap((agent) => agent.ports)
  console.log(`in use: ${inWords(await traces({ directory, repository, ports }))}`)
  // each is halted and saved before it is removed; what was committed stays, on the agent's branch
  await all(agents, ({ session }) => client.destroy({ session, force: true }))
  console.log(`left: ${inWords(await traces({ directory, repository, ports }))}`)
  console.log(git("branch", "--verbose").toString().trimEnd())
} finally {
  try {
    await all(started, (session) => client.destroy({ session, force: true, confirmDataLoss: true }))
  } finally {
    await client.close()
  }
}

/** All at once; the first failure is thrown when the others have ended too. */
async function all<A, B>(items: ReadonlyArray<A>, each: (item: A) => Promise<B>): Promise<ReadonlyArray<B>> {
  const settled = await Promise.allSettled(items.map(each))
  return settled.map((outcome) => {
    if (outcome.status === "rejected") throw outcome.reason
    return outcome.value
  })
}
