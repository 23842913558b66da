/** Boxes of the Docker provider: containers of this machine's engine, or of another one. */
import { execFileSync } from "node:child_process"
import { existsSync, mkdirSync, rmSync } from "node:fs"
import { join } from "node:path"
import { instanceName } from "@org/sandbox-core/Session"
import { client, type OwnEngine } from "../support/ownEngine.ts"
import { bound, type Placed, type Side, type Surroundings } from "./side.ts"

const kinds = {
  container: ["ps", "--all"],
  running: ["ps"],
  network: ["network", "ls"],
  volume: ["volume", "ls"]
} as const
const parts = ["container", "network", "volume"] as const

const place = "/sandbox/work"

export const inDocker = (image: string, engine?: OwnEngine): Side => {
  const at = engine === undefined ? [] : ["--host", engine.direct]

  const docker = (args: ReadonlyArray<string>, input?: Buffer): Buffer =>
    execFileSync(client, [...at, ...args], { input, stdio: ["pipe", "pipe", "pipe"], maxBuffer: 2 ** 30 })

  /** Everything of a kind that carries the label of the world's ledger: id or name, and key. */
  const labelled = (w: Surroundings, kind: keyof typeof kinds): ReadonlyArray<readonly [string, string]> => {
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

  const named = (w: Surroundings, of: ReadonlyArray<keyof typeof kinds>): ReadonlyArray<string> =>
    [...new Set(of.flatMap((kind) => labelled(w, kind)).map(([, key]) => instanceName(key)))].toSorted()

  const remove = (w: Surroundings): void => {
    for (const [id] of labelled(w, "container")) docker(["rm", "--force", id])
    for (const [id] of labelled(w, "network")) docker(["network", "rm", id])
    for (const [id] of labelled(w, "volume")) docker(["volume", "rm", "--force", id])
  }

  const containerOf = (w: Surroundings, row: Placed): string | undefined =>
    bound(row)
      ? labelled(w, "container").find(([, key]) => key === (JSON.parse(row.instance!) as { key: string }).key)?.[0]
      : undefined

  const checkout: Side["checkout"] = (w, row) => {
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
    configuration: { options: { image, pull: "never", ...(engine && { host: engine.address }) } },
    names: (w) => named(w, parts),
    running: (w) => named(w, ["running"]),
    parts: (w) =>
      parts.flatMap((kind) => labelled(w, kind).map(([id, key]) => `${kind} ${id} of ${instanceName(key)}`)),
    halves: () => [],
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
    worktree: () => undefined,
    living: true
  }
}
