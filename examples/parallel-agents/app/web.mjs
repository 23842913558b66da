/** The web server: takes notes, and has the worker count their words. */
import { createServer } from "node:http"
import { db } from "./store.mjs"

const add = db.prepare("INSERT INTO notes (text) VALUES (?) RETURNING id")
const all = db.prepare("SELECT id, text, words FROM notes ORDER BY id")

const routes = {
  "GET /health": () => ({ ok: true }),
  "GET /": () => ({ session: process.env.SANDBOX_NAME, branch: process.env.SANDBOX_BRANCH, notes: all.all() }),
  "POST /notes": async (request) => {
    let text = ""
    for await (const chunk of request.setEncoding("utf8")) text += chunk
    const { id } = add.get(text)
    const counted = await fetch(`http://127.0.0.1:${process.env.WORKER_PORT}/${id}`, { method: "POST" })
    if (!counted.ok) throw new Error(`the worker answered ${counted.status}`)
    return { id }
  }
}

const server = createServer(async (request, response) => {
  const send = (status, body) => response.writeHead(status, { "content-type": "application/json" }).end(body)
  try {
    const route = routes[`${request.method} ${request.url}`]
    if (route === undefined) send(404, '{"error":"no such page"}')
    else send(200, JSON.stringify(await route(request)))
  } catch (error) {
    console.error(error)
    send(500, '{"error":"see the log"}')
  }
})

server.listen(Number(process.env.PORT), "127.0.0.1", () => console.log(`web on ${process.env.PORT}`))
