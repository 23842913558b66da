#!/usr/bin/env node
// Plain JavaScript without named imports: even a Node.js that is too old gets as far as the sentence below.
import module from "node:module"

const [major = 0, minor = 0] = process.versions.node.split(".").map(Number)
if (major < 22 || (major === 22 && minor < 19)) {
  process.stderr.write(`sandbox needs Node.js 22.19 or newer, and this is ${process.version}.\n`)
  process.exit(1)
}
module.enableCompileCache()
// everything heavy lives behind this import, so that it comes out of the compile cache
await import("../dist/main.js")
