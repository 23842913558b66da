/** Follows docs/provider-author.md literally, in a fresh folder, with the packages as they would be published. */
import { execFileSync, type SpawnSyncReturns, spawnSync } from "node:child_process"
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync
} from "node:fs"
import { tmpdir } from "node:os"
import { basename, dirname, join, resolve } from "node:path"
import { afterAll, assert, beforeAll, describe, it } from "vitest"

const root = resolve(import.meta.dirname, "..")
const document = readFileSync(join(root, "docs/provider-author.md"), "utf8")
const reference = join(root, "packages/conformance/src/reference")

interface Step {
  readonly verb: string
  readonly argument: string
  readonly block: string
}

/** The marked blocks, in order. */
const steps: ReadonlyArray<Step> = [...document.matchAll(/^<!-- (\w+)(?:: (.+?))? -->\n```\w*\n([\s\S]*?)^```$/gm)].map(
  ([, verb = "", argument = "", block = ""]) => ({ verb, argument, block })
)

const temporary = mkdtempSync(join(tmpdir(), "provider-author-"))
afterAll(() => rmSync(temporary, { recursive: true, force: true }))
const folder = join(temporary, "my-provider")
const packages = join(temporary, "packages")

/** Builds the packages in a copy of the tree, which leaves the tree's own build alone, and packs them. */
const pack = () => {
  const copy = join(temporary, "tree")
  const skipped = new Set(["node_modules", "dist", "test"])
  const modules = join(copy, "node_modules")
  mkdirSync(join(modules, "@org"), { recursive: true })
  mkdirSync(packages)
  for (const name of readdirSync(join(root, "node_modules"))) {
    if (name !== "@org" && name !== ".vite") symlinkSync(join(root, "node_modules", name), join(modules, name))
  }
  cpSync(join(root, "tsconfig.base.json"), join(copy, "tsconfig.base.json"))
  for (const name of readdirSync(join(root, "packages"))) {
    const to = join(copy, "packages", name)
    cpSync(join(root, "packages", name), to, { recursive: true, filter: (path) => !skipped.has(basename(path)) })
    symlinkSync(to, join(modules, "@org", `sandbox-${name}`))
  }
  for (const name of readdirSync(join(root, "packages"))) {
    const cwd = join(copy, "packages", name)
    execFileSync(process.execPath, [join(root, "node_modules/tsup/dist/cli-default.js"), "--silent"], { cwd })
    execFileSync("npm", ["pack", "--ignore-scripts", "--silent", "--pack-destination", packages], { cwd })
  }
}

const env = {
  ...Object.fromEntries(
    Object.entries(process.env).filter(
      ([name]) => !/^(SANDBOX_|npm_lifecycle|npm_package|VITEST|NODE_ENV|NODE_OPTIONS|CI$)/.test(name)
    )
  ),
  // this Node, and none of the tools of the tree
  PATH: `${dirname(process.execPath)}:${process.env["PATH"] ?? ""}`,
  XDG_STATE_HOME: join(temporary, "state"),
  XDG_CACHE_HOME: join(temporary, "cache"),
  XDG_CONFIG_HOME: join(temporary, "config"),
  NO_COLOR: "1",
  PACKAGES: packages,
  // what npm asks the registry for beside packages
  npm_config_audit: "false",
  npm_config_update_notifier: "false",
  npm_config_prefer_offline: "true"
}

const escaped = (text: string) => text.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&")

const lineOf = (claimed: string) => new RegExp(`^${claimed.split("…").map(escaped).join(".*")}$`)

/** Compares what was printed with what a block claims: `…` alone stands for any lines, within a line for anything. */
const compare = (block: string, printed: string) => {
  const lines = printed.trimEnd().split("\n")
  let at = 0
  let anything = false
  for (const claimed of block.trimEnd().split("\n")) {
    if (claimed === "…") {
      anything = true
      continue
    }
    const found = lines.findIndex((line, index) => index >= at && lineOf(claimed).test(line))
    if (found < 0 || (found > at && !anything)) assert.fail(`expected ${claimed}\nafter line ${at} of\n${printed}`)
    at = found + 1
    anything = false
  }
  if (!anything) assert.strictEqual(lines.length, at, `nothing more was expected in\n${printed}`)
}

let last: SpawnSyncReturns<string> | undefined

const follow = ({ argument, block, verb }: Step) => {
  switch (verb) {
    case "file":
      return writeFileSync(join(folder, argument), block)
    case "edit": {
      const lines = (sign: string) =>
        block
          .split("\n")
          .filter((line) => line.startsWith(sign))
          .map((line) => `${line.slice(1)}\n`)
          .join("")
      const text = readFileSync(join(folder, argument), "utf8")
      assert.include(text, lines("-"))
      return writeFileSync(
        join(folder, argument),
        text.replace(lines("-"), () => lines("+"))
      )
    }
    case "run": {
      last = spawnSync("sh", ["-e", "-c", block], { cwd: folder, env, encoding: "utf8", timeout: 120_000 })
      return assert.strictEqual(last.status, Number(argument || 0), `${block}\n${last.stdout}\n${last.stderr}`)
    }
    case "prints":
      return compare(block, last?.stdout ?? "")
    default:
      return assert.fail(`the document has a step ${verb}, which nobody knows`)
  }
}

describe("docs/provider-author.md", () => {
  beforeAll(() => {
    mkdirSync(folder)
    pack()
  }, 120_000)

  it("ends with the text of the reference provider, file by file", () => {
    const files = new Map(steps.flatMap(({ argument, block, verb }) => (verb === "file" ? [[argument, block]] : [])))
    for (const name of readdirSync(reference)) {
      assert.strictEqual(files.get(name), readFileSync(join(reference, name), "utf8"), name)
    }
  })

  it("leads from an empty folder to a provider that keeps the laws, is used and stays so", { timeout: 240_000 }, () => {
    assert.isAbove(steps.filter(({ verb }) => verb === "run").length, 5)
    for (const step of steps) follow(step)
    assert.deepStrictEqual(readdirSync(join(folder, "boxes")), [])
    assert.isFalse(existsSync(join(folder, "node_modules/typescript")))
  })
})
