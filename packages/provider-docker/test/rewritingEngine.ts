/** An engine that tells something else of its containers than is so. */
import { once } from "node:events"
import { mkdtempSync, rmSync } from "node:fs"
import { createServer, request as http, type IncomingMessage, type ServerResponse } from "node:http"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect } from "effect"
import { socket } from "../../../test/support/docker.ts"

/**
 * Stands in front of this machine's engine; what is told of a container is changed on the way, and so may be the status of
 * any answer. Gone with the scope.
 */
export const rewritingEngine = Effect.fnUntraced(function* (
  rewrite: (container: any) => void,
  restated: (status: number) => number = (status) => status,
  /** What the engine refuses a call with instead of carrying it out; nothing where it does. */
  refusal: (method: string, url: string) => string | undefined = () => undefined
) {
  const directory = yield* Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "rewriting-"))),
    (directory) => Effect.sync(() => rmSync(directory, { recursive: true, force: true }))
  )
  const path = join(directory, "engine.sock")
  const serve = (asked: IncomingMessage, answer: ServerResponse) => {
    const { headers, method, url = "/" } = asked
    const refused = refusal(method ?? "", url)
    if (refused !== undefined) {
      answer.writeHead(500, { "content-type": "application/json" })
      answer.end(JSON.stringify({ message: refused }))
      return
    }
    const isContainer = method === "GET" && /\/containers\/[^/]+\/json$/.test(url) && !/\/containers\/json/.test(url)
    const passed = http({ socketPath: socket, method, path: url, headers }, async (said) => {
      if (!isContainer || said.statusCode !== 200) {
        answer.writeHead(restated(said.statusCode ?? 502), said.headers)
        said.pipe(answer)
        return
      }
      const container = JSON.parse(Buffer.concat(await said.toArray()).toString())
      rewrite(container)
      const { "content-length": _, "transfer-encoding": __, ...kept } = said.headers
      answer.writeHead(200, kept)
      answer.end(JSON.stringify(container))
    })
    asked.pipe(passed)
  }
  yield* Effect.acquireRelease(
    Effect.promise(async () => {
      const server = createServer(serve).listen(path)
      await once(server, "listening")
      return server
    }),
    (server) =>
      Effect.sync(() => {
        server.closeAllConnections()
        server.close()
      })
  )
  return { address: `unix://${path}` }
})
