/** The data of one session: a SQLite file in its checkout, which the web server and the worker share. */
import { mkdirSync } from "node:fs"
import { DatabaseSync } from "node:sqlite"

mkdirSync("data", { recursive: true })

export const db = new DatabaseSync("data/app.db", { timeout: 5000 })

db.exec(`
  PRAGMA journal_mode = WAL;
  CREATE TABLE IF NOT EXISTS notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL, words INTEGER)
`)
