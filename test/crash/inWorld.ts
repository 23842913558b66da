/** A world for one run, on the engine that the run asks for. */
import { mkdtempSync, realpathSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { OwnEngine } from "../support/ownEngine.ts"
import { boxesOf, engineOf } from "./boxes.ts"
import { bundle } from "./bundle.ts"
import { World } from "./world.ts"

export interface Options {
  readonly provider: string
  /** Where sessions can be switched to. */
  readonly to?: string | undefined
  /** `own`: one of the run's own, instead of the machine's. */
  readonly engine?: string | undefined
  /** Whether the world of a run that fails stays where it is. */
  readonly keep?: boolean | undefined
}

/** Runs something in it. It is gone afterwards, also when somebody ends the run. */
export const inWorld = async <A>(
  { engine: asked, keep = false, provider, to }: Options,
  run: (w: World, engine: OwnEngine | undefined) => Promise<A>
): Promise<A> => {
  const engine = await engineOf(asked)
  const directory = realpathSync(mkdtempSync(join(tmpdir(), "sandbox-soak-")))
  let w: World | undefined
  const close = () => {
    w?.clear()
    engine?.close()
    rmSync(directory, { recursive: true, force: true, maxRetries: 5 })
  }
  process.once("exit", close)
  let kept = false
  try {
    w = new World(join(directory, "world"), await bundle(join(directory, "cli")), boxesOf(provider, { engine, to }))
    w.make()
    return await run(w, engine)
  } catch (error) {
    kept = keep
    if (kept) console.error(`kept: ${directory}`)
    throw error
  } finally {
    process.off("exit", close)
    if (!kept) close()
  }
}
