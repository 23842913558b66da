/** What one agent does in its session: uses the running app, changes a file and commits it on its own branch. */
import type { Client } from "@org/sandbox-core/promise"

export interface Agent {
  readonly name: string
  readonly session: string
  /** Where its own copy of the app answers. */
  readonly url: string
  readonly ports: ReadonlyArray<number>
}

interface Page {
  readonly branch: string
  readonly notes: ReadonlyArray<{ readonly text: string; readonly words: number }>
}

/** Answers what its app holds in the end, and its last commit. */
export const work = async (client: Client, { name, session, url }: Agent) => {
  const posted = await fetch(`${url}/notes`, { method: "POST", body: `${name} was here` })
  if (!posted.ok) throw new Error(`the app of ${name} answered ${posted.status}`)
  const page = (await (await fetch(url)).json()) as Page
  if (page.branch !== name) throw new Error(`${url} is the app of ${page.branch}, not of ${name}`)

  for (const part of ["first", "second"]) {
    await run(client, session, ["sh", "-c", `echo "$1, the $2 part" >>"$1.md"`, "write", name, part])
    await run(client, session, ["git", "add", `${name}.md`])
    const author = ["-c", `user.name=${name}`, "-c", `user.email=${name}@example.com`]
    await run(client, session, ["git", ...author, "commit", "--quiet", `--message=${name}: the ${part} part`])
  }
  const commit = await run(client, session, ["git", "log", "-1", "--format=%h %s"])
  return { name, url, notes: page.notes.map(({ text, words }) => `${text} (${words} words)`), commit }
}

/** What a command in the session prints; throws with its last words when it fails. */
const run = async (client: Client, session: string, argv: ReadonlyArray<string>): Promise<string> => {
  const command = await client.exec({ session, argv })
  const decoders = { 1: new TextDecoder(), 2: new TextDecoder() }
  const text = { 1: "", 2: "" }
  for await (const { bytes, fd } of command.output) text[fd] += decoders[fd].decode(bytes, { stream: true })
  const { code } = await command.exit
  if (code !== 0) throw new Error(`${argv[0]} ended with ${code}: ${text[2]}`)
  return text[1].trim()
}
