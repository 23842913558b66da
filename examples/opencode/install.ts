/** OpenCode from npm, installed once: it is large, and no package of ours depends on it. */
import { execFile } from "node:child_process"
import { existsSync } from "node:fs"
import { mkdir, mkdtemp, rename, rm } from "node:fs/promises"
import { join } from "node:path"
import { promisify } from "node:util"

const version = "1.18.33"

const run = promisify(execFile)

/** Answers the directory with the program `opencode`; rejects with why it cannot be had. */
export const install = async (cache: string): Promise<string> => {
  const place = join(cache, `opencode-ai-${version}`)
  const bin = join(place, "node_modules", ".bin")
  if (existsSync(bin)) return bin
  await mkdir(cache, { recursive: true })
  const draft = await mkdtemp(`${place}.`)
  try {
    // npm may refuse to run a package's scripts or not; the one that is needed picks this machine's program
    const npm = ["install", "--prefix", draft, "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1"]
    await run("npm", [...npm, `opencode-ai@${version}`], { cwd: draft, timeout: 180_000 })
    const own = join(draft, "node_modules", "opencode-ai")
    await run(process.execPath, ["postinstall.mjs"], { cwd: own, timeout: 60_000 })
    // it makes directories in the home directory, whatever it is asked
    const { stdout } = await run(join(draft, "node_modules", ".bin", "opencode"), ["--version"], {
      env: { PATH: process.env["PATH"], HOME: join(draft, "home") },
      timeout: 60_000
    })
    if (stdout.trim() !== version) throw new Error(`it says that it is ${stdout.trim()}`)
    // whoever else has installed it meanwhile was first
    await rename(draft, place).catch((error) => {
      if (!existsSync(bin)) throw error
    })
    return bin
  } catch (error) {
    const { message, stderr } = error as Error & { readonly stderr?: string }
    const lines = (stderr || message).trim().split("\n")
    throw new Error(
      `opencode-ai ${version} cannot be installed: ${lines.find((line) => /error/i.test(line)) ?? lines[0]}`
    )
  } finally {
    await rm(draft, { recursive: true, force: true })
  }
}
