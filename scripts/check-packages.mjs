#!/usr/bin/env node
/**
 * Proves that the built packages can be published: packs each, lints the tarball, unpacks it where only its declared
 * dependencies can be found, imports every export, and type-checks them all as a stranger's compiler would.
 *
 *   npm run build && node scripts/check-packages.mjs
 */
import { execFileSync, spawnSync } from "node:child_process"
import {
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
import { dirname, join, resolve } from "node:path"

const modules = resolve("node_modules")
const bin = (name) => join(modules, ".bin", name)
const manifestOf = (folder) => JSON.parse(readFileSync(join(folder, "package.json"), "utf8"))
const packages = readdirSync("packages").map((folder) => ({
  folder: resolve("packages", folder),
  manifest: manifestOf(join("packages", folder))
}))
const temporary = mkdtempSync(join(tmpdir(), "check-packages-"))
const problems = []

/** The exported subpaths of an unpacked package; a pattern stands for every module of `src` that it matches. */
const subpaths = (folder, { exports, name }) =>
  Object.entries(exports).flatMap(([key, target]) => {
    if (target === null || key === "./package.json") return []
    if (!key.includes("*")) return [name + key.slice(1)]
    return readdirSync(join(folder, "src"))
      .filter((entry) => entry.endsWith(".ts") && entry !== "index.ts")
      .map((entry) => `${name}/${entry.slice(0, -3)}`)
  })

/** One private path per closed pattern, which must not resolve. */
const closed = ({ exports, name }) =>
  Object.entries(exports).flatMap(([key, target]) => (target === null ? [name + key.slice(1).replace("*", "x")] : []))

try {
  const tarballs = new Map()
  for (const { folder, manifest } of packages) {
    const args = ["pack", "--json", "--ignore-scripts", "--pack-destination", temporary]
    const packed = JSON.parse(execFileSync("npm", args, { cwd: folder, encoding: "utf8" }))
    const [{ filename }] = Array.isArray(packed) ? packed : Object.values(packed)
    tarballs.set(manifest.name, join(temporary, filename))
    if (spawnSync(bin("publint"), ["--strict", tarballs.get(manifest.name)], { stdio: "inherit" }).status !== 0) {
      problems.push(`${manifest.name}: publint refuses it`)
    }
  }

  for (const { manifest } of packages) {
    const project = join(temporary, manifest.name.replace("/", "+"))
    const place = (name) => {
      const to = join(project, "node_modules", name)
      if (existsSync(to)) return
      mkdirSync(dirname(to), { recursive: true })
      if (!tarballs.has(name)) return symlinkSync(join(modules, name), to)
      mkdirSync(to)
      execFileSync("tar", ["xzf", tarballs.get(name), "--strip-components=1", "-C", to])
      const { dependencies = {}, peerDependencies = {} } = manifestOf(to)
      for (const dependency of Object.keys({ ...dependencies, ...peerDependencies })) place(dependency)
    }
    place(manifest.name)
    const unpacked = join(project, "node_modules", manifest.name)
    const open = subpaths(unpacked, manifest)

    writeFileSync(join(project, "package.json"), '{ "type": "module" }')
    // importing a suite of tests needs a running test runner; resolving it does not
    const load = `
      for (const path of ${JSON.stringify(open)}) {
        if (path.endsWith("Test")) import.meta.resolve(path)
        else await import(path)
      }
      for (const path of ${JSON.stringify(closed(manifest))}) {
        try { import.meta.resolve(path) } catch { continue }
        throw new Error(path + " is reachable")
      }`
    writeFileSync(join(project, "load.mjs"), load)
    if (spawnSync(process.execPath, ["load.mjs"], { cwd: project, stdio: "inherit" }).status !== 0) {
      problems.push(`${manifest.name}: an export does not resolve`)
    }

    writeFileSync(
      join(project, "types.ts"),
      open.map((path, index) => `import * as m${index} from "${path}"\nexport { m${index} }`).join("\n")
    )
    const strict = ["--noEmit", "--strict", "--module", "nodenext", "--target", "es2024", "--skipLibCheck", "false"]
    const tsc = [...strict, "--types", "node", "--typeRoots", join(modules, "@types"), "types.ts"]
    if (open.length > 0 && spawnSync(bin("tsc"), tsc, { cwd: project, stdio: "inherit" }).status !== 0) {
      problems.push(`${manifest.name}: its declarations do not compile`)
    }

    for (const [command, path] of Object.entries(manifest.bin ?? {})) {
      const run = spawnSync(process.execPath, [join(unpacked, path), "--version"], { encoding: "utf8" })
      if (!run.stdout.includes(manifest.version)) problems.push(`${command} --version says ${run.stdout}${run.stderr}`)
      // what is bundled may load from the sources and not from the bundle
      writeFileSync(
        join(project, "sandbox.yaml"),
        "provider: local\nservices: [{ name: web, command: [web], port: 3000 }]\n"
      )
      const valid = spawnSync(process.execPath, [join(unpacked, path), "validate", project, "--json"], {
        encoding: "utf8"
      })
      if (valid.status !== 0) problems.push(`${command} validate says ${valid.stdout}${valid.stderr}`)
      // a provider outside of the bundle brings its own copies of core and effect
      writeFileSync(join(project, "options.json"), '{ "root": "boxes" }')
      const conform = ["provider", "conform", "@org/sandbox-conformance/reference", "--options", "options.json"]
      const proof = spawnSync(process.execPath, [join(unpacked, path), ...conform, "--only", "lifecycle", "--quiet"], {
        cwd: project,
        encoding: "utf8",
        env: { ...process.env, XDG_STATE_HOME: join(project, "state"), XDG_CACHE_HOME: join(project, "cache") }
      })
      if (proof.status !== 0) problems.push(`${command} provider conform says ${proof.stdout}${proof.stderr}`)
    }
    console.log(`${manifest.name}: ${open.length} exports`)
  }
} finally {
  rmSync(temporary, { recursive: true, force: true })
}
for (const problem of problems) console.error(problem)
process.exitCode = problems.length === 0 ? 0 : 1
