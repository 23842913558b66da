#!/usr/bin/env node
/** Whether every deliberate break still fits the code: each of its texts occurs exactly once in its file. */
import { readFileSync } from "node:fs"
import { breaks } from "./all.mjs"

const stale = breaks.flatMap(({ edits, file, invariant }) =>
  edits
    .filter(([text]) => readFileSync(file, "utf8").split(text).length !== 2)
    .map(([text]) => `I-${invariant}: ${file} does not hold this text once: ${text}`)
)
for (const sentence of stale) console.error(sentence)
process.exitCode = stale.length === 0 ? 0 : 1
