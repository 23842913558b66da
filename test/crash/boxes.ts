/** Where the boxes of a world are: what there is of them, and how to get at the checkout of one. */
import { execFileSync } from "node:child_process"
import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { instanceName } from "@org/sandbox-core/Session"
import { images } from "../support/docker.ts"
import { client, OwnEngine } from "../support/ownEngine.ts"

/** What is looked into of a session's row. */
interface Row {
  readonly id: string
  readonly state: string
  readonly instance: string | null
  readonly workspace_path: string | null
}

/** What is looked into of a world. */
interface World {
  readonly directory: string
  readonly state: string
  entries(...path: ReadonlyArray<string>): ReadonlyArray<string>
  git(...args: ReadonlyArray<string>): string
  query<A extends object>(sql: string): ReadonlyArray<A>
}

export interface Boxes {
  readonly provider: string
  /** What must stand in the user's configuration. */
  readonly prepare: (w: World) => void
  /** The names of all that there are, with every part that is left of one. */
  readonly names: (w: World) => ReadonlyArray<string>
  /** Every part of them, of all that carry the label of the world's ledger: what it is, its id and its box's name. */
  readonly parts: (w: World) => ReadonlyArray<string>
  /** A directory of this host with what the checkout of a session holds now; none, where there is none. */
  readonly checkout: (w: World, row: Row) => string | undefined
  /** Changes what the checkout holds, where anybody could do so now. */
  readonly change: (w: World, row: Row, edit: (directory: string) => void) => void
  /** Takes every box away behind everybody's back, as a disk might. */
  readonly lose: (w: World) => void
  readonly clear: (w: World) => void
  /** A copy of the world's directory is no copy of its boxes. */
  readonly living: boolean
}

const bound = (row: Row): boolean => row.state !== "destroyed" && row.instance !== null

const local: Boxes = {
  provider: "local",
  prepare: () => {},
  names: (w) => w.entries("local").filter((name) => !name.startsWith(".")),
  parts: (w) => w.entries("local").map((name) => `directory of ${name}`),
  checkout: (_, row) =>
    bound(row) && row.workspace_path !== null && existsSync(join(row.workspace_path, ".git"))
      ? row.workspace_path
      : undefined,
  change: (_, row, edit) => edit(row.workspace_path!),
  lose: (w) => {
    for (const name of w.entries("local")) rmSync(join(w.state, "local", name), { recursive: true, force: true })
    w.git("worktree", "prune")
  },
  clear: () => {},
  living: false
}

const kinds = {
  container: ["ps", "--all"],
  network: ["network", "ls"],
  volume: ["volume", "ls"]
} as const
const parts = ["container", "network", "volume"] as const

const place = "/sandbox/work"

/** Those of this machine's engine, or of another one. */
const inDocker = (engine?: OwnEngine): Boxes => {
  const at = engine === undefined ? [] : ["--host", engine.direct]

  const docker = (args: ReadonlyArray<string>, input?: Buffer): Buffer =>
    execFileSync(client, [...at, ...args], { input, stdio: ["pipe", "pipe", "pipe"], maxBuffer: 2 ** 30 })

  /** Everything of a kind that carries the label of the world's ledger: id or name, and key. */
  const labelled = (w: World, kind: keyof typeof kinds): ReadonlyArray<readonly [string, string]> => {
    const ledger = w.query<{ value: string }>("SELECT value FROM meta WHERE name = 'ledger_id'")[0]?.value
    if (ledger === undefined) return []
    const id = kind === "volume" ? "{{.Name}}" : "{{.ID}}"
    const format = `${id} {{.Label "org.sandbox.key"}}`
    return docker([...kinds[kind], "--filter", `label=org.sandbox.ledger=${ledger}`, "--format", format])
      .toString()
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => line.split(" ") as [string, string])
  }

  const remove = (w: World): void => {
    for (const [id] of labelled(w, "container")) docker(["rm", "--force", id])
    for (const [id] of labelled(w, "network")) docker(["network", "rm", id])
    for (const [id] of labelled(w, "volume")) docker(["volume", "rm", "--force", id])
  }

  const containerOf = (w: World, row: Row): string | undefined =>
    bound(row)
      ? labelled(w, "container").find(([, key]) => key === (JSON.parse(row.instance!) as { key: string }).key)?.[0]
      : undefined

  const checkout: Boxes["checkout"] = (w, row) => {
    const container = containerOf(w, row)
    if (container === undefined) return undefined
    const copy = join(`${w.directory}.copies`, row.id)
    rmSync(copy, { recursive: true, force: true })
    mkdirSync(copy, { recursive: true })
    try {
      execFileSync("tar", ["-x", "--no-same-owner", "--strip-components=1", "-C", copy], {
        input: docker(["cp", `${container}:${place}`, "-"])
      })
    } catch (error) {
      if (containerOf(w, row) !== undefined) throw error
      return undefined // removed just now
    }
    return existsSync(join(copy, ".git")) ? copy : undefined
  }

  return {
    provider: "docker",
    prepare: (w) => {
      const directory = join(w.directory, "home/.config/sandbox")
      mkdirSync(directory, { recursive: true })
      const options = { image: images.base, pull: "never", ...(engine && { host: engine.address }) }
      writeFileSync(join(directory, "config.yaml"), JSON.stringify({ providers: { docker: { options } } }))
    },
    names: (w) => {
      const all = parts.flatMap((kind) => labelled(w, kind))
      return [...new Set(all.map(([, key]) => instanceName(key)))].toSorted()
    },
    parts: (w) =>
      parts.flatMap((kind) => labelled(w, kind).map(([id, key]) => `${kind} ${id} of ${instanceName(key)}`)),
    checkout,
    change: (w, row, edit) => {
      const container = containerOf(w, row)
      const copy = checkout(w, row)
      const runs =
        container !== undefined && `${docker(["inspect", "--format", "{{.State.Running}}", container])}` === "true\n"
      if (copy === undefined || !runs) return
      edit(copy)
      docker(["exec", container, "sh", "-c", `cd ${place} && rm -rf -- * .[!.]*`])
      const archive = execFileSync("tar", ["-c", "--owner=1000", "--group=1000", "-C", copy, "."], {
        maxBuffer: 2 ** 30
      })
      docker(["cp", "-", `${container}:${place}`], archive)
    },
    lose: remove,
    clear: (w) => {
      // an engine of a run's own takes them along
      if (engine?.hasEnded !== true) remove(w)
      rmSync(`${w.directory}.copies`, { recursive: true, force: true })
    },
    living: true
  }
}

/** The boxes of a provider, by its name, on the engine that is meant: this machine's, unless told. */
export const boxesOf = (provider: string, engine?: OwnEngine): Boxes => {
  if (provider === "docker") return inDocker(engine)
  if (engine !== undefined) throw new Error(`--engine is for --provider docker, and not for ${provider}`)
  if (provider !== "local") throw new Error(`--provider takes local or docker, and not ${provider}`)
  return local
}

/** The engine that a run asks for: one of its own, or none but the machine's. */
export const engineOf = async (asked: string | undefined): Promise<OwnEngine | undefined> => {
  if (asked === undefined) return undefined
  if (asked !== "own") throw new Error(`--engine takes own, and not ${asked}`)
  return OwnEngine.start([images.base])
}
