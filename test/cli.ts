/**
 * The command line as it is published, bundled once for the whole run: it starts several times faster than its sources do,
 * and is what users run. The providers that tests give it are bundled with it. SANDBOX_TEST_CLI names another one.
 */
import { execFileSync } from "node:child_process"
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from "node:fs"
import { join } from "node:path"

const root = join(import.meta.dirname, "..")

export default () => {
  if (process.env["SANDBOX_TEST_CLI"] !== undefined) return undefined
  // below node_modules, where it finds the add-on for terminals as an installed one does
  const cache = join(root, "node_modules/.cache")
  mkdirSync(cache, { recursive: true })
  const directory = mkdtempSync(join(cache, "sandbox-cli-"))
  // some tests run it as another user
  chmodSync(directory, 0o755)
  const providers = ["boxProvider", "terminalProvider"].map((name) => `--entry.${name}=../../test/support/${name}.ts`)
  const tsup = [join(root, "node_modules/tsup/dist/cli-default.js"), "--entry.main=src/main.ts", ...providers]
  execFileSync(process.execPath, [...tsup, "--out-dir", directory, "--silent"], {
    cwd: join(root, "packages/cli"),
    stdio: ["ignore", "ignore", "inherit"]
  })
  process.env["SANDBOX_TEST_CLI"] = join(directory, "main.js")
  return () => rmSync(directory, { recursive: true, force: true })
}
