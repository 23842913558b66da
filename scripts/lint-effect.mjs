#!/usr/bin/env node
/** Runs Effect's own diagnostics (floating effects, missing `return yield*`, …) over the sources of every package. */
import { spawnSync } from "node:child_process"
import { readdirSync } from "node:fs"

const failed = readdirSync("packages").filter((name) => {
  const args = ["diagnostics", "--strict", "--format", "text", "--project", `packages/${name}/tsconfig.json`]
  return spawnSync("effect-tsgo", args, { stdio: "inherit" }).status !== 0
})
process.exit(failed.length === 0 ? 0 : 1)
