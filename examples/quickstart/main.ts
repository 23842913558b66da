/** Brings up a repository, runs a command in it, halts it and clears it away: `node main.ts <repository>`. */
import { createClient } from "@org/sandbox-core/promise"

const client = createClient({ providers: { local: { use: () => import("@org/sandbox-provider-local") } } })

const session = await client.up({ repository: process.argv[2] ?? ".", provider: "local" })
console.log(`${session.name} is ${session.state} at ${session.targetCommitSha}`)

const command = await client.exec({ session: session.sessionId, argv: ["git", "log", "--oneline", "-1"] })
for await (const { bytes } of command.output) process.stdout.write(bytes)
const { code } = await command.exit
console.log(`git exited with ${code}`)

const halted = await client.down({ session: session.sessionId })
console.log(`${session.name} is ${halted.state}; its record is checkpoint ${halted.checkpoint?.id}`)

const gone = await client.destroy({ session: session.sessionId })
console.log(`${session.name} is ${gone.state}`)

await client.close()
