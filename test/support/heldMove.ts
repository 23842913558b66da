/** An `mv` that is the real one, but may be made to wait: it is what puts a checkout in place in a box. Or another command. */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import type { Effect } from "effect"
import { eventually, type World } from "./sandbox.ts"

export interface HeldMove {
  /** Puts it first on the PATH. */
  readonly env: { readonly PATH: string }
  /** Waits until a call is held. */
  readonly held: Effect.Effect<void>
  /** Lets it go on, and waits until the script that called it has ended. */
  readonly open: Effect.Effect<void>
}

/** The `nth` call whose arguments contain `hold` waits until `open`, whatever becomes of the rest. */
export const heldMove = (w: World, hold: string, nth: number, command: "mv" | "mkdir" = "mv"): HeldMove => {
  const bin = join(w.directory, `held-${command}`)
  const [calls, gate, waiting] = [join(bin, "calls"), join(bin, "open"), join(bin, "waiting")]
  mkdirSync(bin, { recursive: true })
  writeFileSync(
    join(bin, command),
    `#!/bin/sh
case "$*" in
  *"${hold}"*)
    echo "$*" >> ${calls}
    if [ "$(wc -l < ${calls})" -eq ${nth} ]; then
      echo $PPID > ${waiting}
      while [ ! -e ${gate} ]; do sleep 0.02; done
    fi ;;
esac
PATH="${w.env["PATH"]}" exec ${command} "$@"
`,
    { mode: 0o755 }
  )
  return {
    env: { PATH: `${bin}:${w.env["PATH"]}` },
    held: eventually(
      `a call of ${command} waits`,
      () => existsSync(waiting) && readFileSync(waiting, "utf8") !== "",
      90
    ),
    get open() {
      const script = Number(readFileSync(waiting, "utf8"))
      writeFileSync(gate, "")
      return eventually("the script has ended", () => !readdirSync("/proc").includes(String(script)))
    }
  }
}
