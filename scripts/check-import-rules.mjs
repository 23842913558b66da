#!/usr/bin/env node
/**
 * Proves the import rules of biome.json: writes forbidden and permitted imports into an empty copy of the tree and fails
 * unless the linter refuses exactly the forbidden ones.
 *
 *   node scripts/check-import-rules.mjs
 */
import { spawnSync } from "node:child_process"
import { cpSync, mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join, relative, resolve } from "node:path"

const provider = "@org/sandbox-provider-local"
const never = [
  provider,
  `${provider}/LocalHost`,
  "@org/sandbox-cli",
  "vitest",
  "@effect/vitest",
  "../../core/src/Ids.ts"
]
const platform = ["node:fs", "node:fs/promises", "@effect/platform-node", "@effect/platform-node/NodeServices"]
const sdks = ["@aws-sdk/client-ec2", "@google-cloud/compute"]
const core = ["effect", "@org/sandbox-core", "@org/sandbox-core/Provisioner"]
const internals = ["@org/sandbox-core/internal/box", "@org/sandbox-core/node/NodeHost"]

const rules = {
  "packages/core/src/Ids.ts": {
    allows: ["effect", "./Hasher.ts"],
    refuses: [
      ...never,
      ...platform,
      "@effect/sql-pg",
      "@org/sandbox-core",
      "effect/sql",
      "effect/process",
      "effect/cli"
    ].concat(["./node.ts", "./node/NodeHost.ts", "./index.ts"])
  },
  "packages/core/src/programs/up.ts": { allows: ["../Ids.ts"], refuses: [...platform, "../node/NodeHost.ts"] },
  "packages/core/src/Git.ts": { allows: ["effect/process"], refuses: [...never, ...platform, "effect/sql"] },
  "packages/core/src/internal/tar.ts": { allows: ["effect/process"], refuses: [...never, ...platform, "effect/sql"] },
  "packages/core/src/internal/hostCommand.ts": { allows: ["effect/process"], refuses: [...platform, "effect/sql"] },
  "packages/core/src/SqlLedger/reads.ts": { allows: ["effect/sql"], refuses: [...platform, "effect/process"] },
  "packages/core/src/node/NodeHost.ts": {
    allows: [
      "node:fs",
      "@effect/platform-node/NodeServices",
      "@effect/sql-pg/PgClient",
      "effect/sql",
      "effect/process"
    ],
    refuses: [...never, "@effect/platform-node", "effect/cli"]
  },
  "packages/core/src/promise.ts": {
    allows: ["./node.ts", "./programs/index.ts"],
    refuses: [...platform, "./node/NodeHost.ts", "./index.ts"]
  },
  "packages/core/test/Ids.test.ts": { allows: ["node:fs", "@effect/vitest"], refuses: [provider, "@org/sandbox-cli"] },
  "packages/conformance/src/Law.ts": {
    allows: core,
    refuses: [...never, ...platform, ...internals, "effect/process", "@org/sandbox-core/node"]
  },
  "packages/conformance/src/reference/commands.ts": {
    allows: [...core, "effect/process"],
    refuses: [...never, ...platform, ...internals, "effect/sql"]
  },
  "packages/conformance/src/ProvisionerTest.ts": {
    allows: [...core, "@effect/vitest"],
    refuses: [provider, "node:fs", ...internals]
  },
  "packages/provider-aws/src/AwsProvisioner.ts": {
    allows: [...core, "effect/process", "./AwsClient.ts"],
    refuses: [...never, ...platform, ...sdks, ...internals, "@org/sandbox-core/node", "effect/sql"]
  },
  "packages/provider-aws/src/AwsClient.ts": {
    allows: [...core, "node:net", "@aws-sdk/client-ec2", "effect/http"],
    refuses: [...never, ...internals, "effect/sql", "@effect/platform-node"]
  },
  "packages/cli/src/commands/up.ts": {
    allows: [...core, "@org/sandbox-core/node", "effect/cli", "@effect/platform-node/NodeServices"],
    refuses: [...never, ...sdks, ...internals, "node:fs", "@effect/platform-node", "effect/sql"],
    refusesText: [`export const lazy = () => import("${provider}")`]
  },
  "packages/cli/src/commands/provider.ts": {
    allows: [...core, "@org/sandbox-conformance/Conformance", "effect/cli"],
    refuses: [provider, "vitest", ...sdks, "node:fs"]
  },
  "packages/cli/src/Terminal.ts": {
    allows: [...core, "effect/process"],
    refuses: [provider, ...sdks, "node:child_process", "effect/sql"]
  },
  "packages/cli/src/Browser.ts": {
    allows: [...core, "effect/process"],
    refuses: [provider, ...sdks, "node:fs", "effect/sql"]
  },
  "packages/cli/src/Detached.ts": {
    allows: [...core, "effect/process"],
    refuses: [provider, ...sdks, "node:child_process", "effect/sql"]
  },
  "packages/cli/src/Providers.ts": {
    allows: core,
    allowsText: [`export const lazy = () => import("${provider}")`],
    refuses: [...never, ...sdks],
    refusesText: [`export * as all from "${provider}"`, `export { one } from "${provider}"`]
  },
  "packages/core/src/Cycle.ts": { allows: [], refuses: ["./Cycle2.ts"] },
  "packages/core/src/Cycle2.ts": { allows: [], refuses: ["./Cycle.ts"] },
  "packages/core/src/Types.ts": { allows: [], refuses: [], refusesText: ['export type T = import("effect").Effect'] }
}

const root = realpathSync(mkdtempSync(join(tmpdir(), "import-rules-")))
const wrong = []
try {
  for (const path of ["biome.json", "scripts/lint"]) cpSync(path, join(root, path), { recursive: true })
  const expected = new Map()
  for (const [file, { allows, allowsText = [], refuses, refusesText = [] }] of Object.entries(rules)) {
    const importing = (name, index) => `import type { T as ${"TU"[index % 2]}${index} } from "${name}"`
    const lines = [
      ...allows.map((name, index) => [importing(name, index), false]),
      ...allowsText.map((text) => [text, false]),
      ...refuses.map((name, index) => [importing(name, index + allows.length), true]),
      ...refusesText.map((text) => [text, true])
    ]
    mkdirSync(dirname(join(root, file)), { recursive: true })
    writeFileSync(join(root, file), `${lines.map(([text]) => text).join("\n")}\n`)
    lines.forEach(([text, refused], index) => expected.set(`${file}:${index + 1}`, { text, refused }))
  }
  const { stdout, stderr } = spawnSync(
    resolve("node_modules/.bin/biome"),
    ["lint", "--reporter=github", "--vcs-enabled=false", "--max-diagnostics=none", "packages"],
    { cwd: root, encoding: "utf8" }
  )
  const rule = /title=(?:plugin|lint\/style\/noRestrictedImports|lint\/suspicious\/noImportCycles)/
  const refused = new Set(
    stdout
      .split("\n")
      .filter((line) => line.startsWith("::error") && rule.test(line))
      .map((line) => `${relative(root, /file=([^,]+)/.exec(line)?.[1] ?? "")}:${/line=(\d+)/.exec(line)?.[1]}`)
  )
  if (refused.size === 0) wrong.push(`the linter said nothing: ${stderr}`)
  for (const [at, { refused: should, text }] of expected) {
    if (refused.has(at) !== should)
      wrong.push(`${at.replace(/:\d+$/, "")} ${should ? "may not" : "must be able to"}: ${text}`)
  }
  if (wrong.length === 0) console.log(`import rules: ${refused.size} refused, ${expected.size - refused.size} allowed`)
} finally {
  rmSync(root, { recursive: true, force: true })
}
for (const problem of wrong) console.error(problem)
process.exitCode = wrong.length === 0 ? 0 : 1
