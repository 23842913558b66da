/** The worker: counts the words of a note when it is told to. */
import { createServer } from "node:http"
import { db } from "./store.mjs"

const note = db.prepare("SELECT text FROM notes WHERE id = ?")
const count = db.prepare("UPDATE notes SET words = ? WHERE id = ?")

const server = createServer((request, response) => {
  const id = Number(request.url?.slice(1))
  const text = note.get(id)?.text
  if (text === undefined) return response.writeHead(404).end()
  count.run(text.split(/\s+/).filter((word) => word !== "").length, id)
  response.end()
})

server.listen(Number(process.env.PORT), "127.0.0.1", () => console.log(`worker on ${process.env.PORT}`))
