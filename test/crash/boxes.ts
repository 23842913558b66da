/** Where the boxes of a world are: on one provider, and on another one that sessions can be switched to. */
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { images } from "../support/docker.ts"
import { OwnEngine } from "../support/ownEngine.ts"
import { inDocker } from "./dockerSide.ts"
import { onHost } from "./hostSide.ts"
import type { Side, Surroundings } from "./side.ts"

export interface Boxes extends Pick<Side, "parts" | "halves" | "checkout" | "change" | "lose" | "clear" | "living"> {
  /** Where sessions come up. */
  readonly provider: string
  /** Where they can be switched to. */
  readonly away: string
  /** Makes what must stand in the user's configuration. */
  readonly prepare: (w: Surroundings) => void
  /** All that there are, as `nameOf` names them. */
  readonly names: Side["names"]
  /** Those in which something can run. */
  readonly running: Side["running"]
  /** Where the worktree of such a box would be. */
  readonly worktree: Side["worktree"]
}

const both = (home: Side, away: Side): Boxes => {
  const sides = [home, away]
  const named = (w: Surroundings, look: "names" | "running") =>
    sides.flatMap((side) => side[look](w).map((name) => `${side.provider} ${name}`)).toSorted()
  const sideOf = (provider: string): Side => {
    const side = sides.find((one) => one.provider === provider)
    if (side === undefined) throw new Error(`no side is ${provider}`)
    return side
  }
  return {
    provider: home.provider,
    away: away.provider,
    prepare: (w) => {
      const directory = join(w.directory, "home/.config/sandbox")
      mkdirSync(directory, { recursive: true })
      const providers = Object.fromEntries(
        sides.flatMap(({ configuration, provider }) => (configuration === undefined ? [] : [[provider, configuration]]))
      )
      writeFileSync(join(directory, "config.yaml"), JSON.stringify({ providers }))
    },
    names: (w) => named(w, "names"),
    running: (w) => named(w, "running"),
    parts: (w) => sides.flatMap((side) => side.parts(w)),
    halves: (w) => sides.flatMap((side) => side.halves(w)),
    checkout: (w, row) => sideOf(row.provider).checkout(w, row),
    change: (w, row, edit) => sideOf(row.provider).change(w, row, edit),
    lose: (w) => {
      for (const side of sides) side.lose(w)
    },
    clear: (w) => {
      for (const side of sides) side.clear(w)
    },
    worktree: (w, name) => {
      const [provider = "", own = ""] = name.split(" ")
      return sideOf(provider).worktree(w, own)
    },
    living: sides.some(({ living }) => living)
  }
}

const side = (provider: string, engine: OwnEngine | undefined): Side => {
  switch (provider) {
    case "docker":
      return inDocker(images.base, engine)
    case "local":
    case "other":
      return onHost(provider)
    default:
      throw new Error(`a provider of a world is local, other or docker, and not ${provider}`)
  }
}

/**
 * The boxes of a provider, by its name, on the engine that is meant: this machine's, unless told. Beside it there is another
 * one: `to`, or whichever is quick.
 */
export const boxesOf = (
  provider: string,
  { engine, to }: { readonly engine?: OwnEngine | undefined; readonly to?: string | undefined } = {}
): Boxes => {
  const away = to ?? (provider === "local" ? "other" : "local")
  if (away === provider) throw new Error(`a session cannot be switched from ${provider} to ${away}`)
  const hasEngine = provider === "docker" || away === "docker"
  if (engine !== undefined && !hasEngine) throw new Error(`--engine is for --provider docker, and not for ${provider}`)
  return both(side(provider, engine), side(away, engine))
}

/** The engine that a run asks for: one of its own, or none but the machine's. */
export const engineOf = async (asked: string | undefined): Promise<OwnEngine | undefined> => {
  if (asked === undefined) return undefined
  if (asked !== "own") throw new Error(`--engine takes own, and not ${asked}`)
  return OwnEngine.start([images.base])
}
