/** Directories to build images of, for tests; they are gone with the scope, and so is what was built of them. */
import { randomUUID } from "node:crypto"
import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { Effect, Schedule } from "effect"
import * as Docker from "../../../test/support/docker.ts"

export interface Context {
  /** The directory. */
  readonly context: string
  /** The label of all that is made of it, also of what is made in between. */
  readonly label: string
  /** Writes a file, and the directories it is in. */
  readonly write: (path: string, content: string) => void
  /** Writes a Dockerfile whose images carry the label. */
  readonly dockerfile: (lines: ReadonlyArray<string>, path?: string) => void
}

/** A directory with a Dockerfile of these lines, which follow the first. */
export const newContext = Effect.fnUntraced(function* (...lines: ReadonlyArray<string>) {
  const label = `sandbox-test.build=${randomUUID()}`
  const context = realpathSync(mkdtempSync(join(tmpdir(), "context-")))
  yield* Effect.addFinalizer(() =>
    Effect.gen(function* () {
      rmSync(context, { recursive: true, force: true })
      yield* Docker.removeLabelled(label)
      for (const { Id } of yield* images(label)) {
        yield* Effect.orDie(Docker.request("DELETE", `/images/${Id}?force=true`))
      }
    })
  )
  const write = (path: string, content: string) => {
    mkdirSync(dirname(join(context, path)), { recursive: true })
    writeFileSync(join(context, path), content)
  }
  const dockerfile: Context["dockerfile"] = (lines, path = "Dockerfile") =>
    write(path, [`FROM ${Docker.images.base}`, `LABEL ${label}`, ...lines, ""].join("\n"))
  dockerfile(lines)
  return { context, label, write, dockerfile } satisfies Context as Context
})

/** The images that carry a label, without those that were only made in between. */
export const images = (label: string): Effect.Effect<ReadonlyArray<{ Id: string; RepoTags: ReadonlyArray<string> }>> =>
  Effect.map(
    Effect.orDie(
      Docker.request("GET", `/images/json?filters=${encodeURIComponent(JSON.stringify({ label: [label] }))}`)
    ),
    ({ json }) => json()
  )

/** The names that images with a label were given by the provider. */
export const built = (label: string) =>
  Effect.map(images(label), (all) =>
    all.flatMap(({ RepoTags }) => RepoTags ?? []).filter((name) => name.startsWith("sandbox-build:"))
  )

/** Waits until something is so. */
export const until = <E>(what: string, isSo: Effect.Effect<boolean, E>) =>
  Effect.flatMap(isSo, (so) => (so ? Effect.void : Effect.fail(new Error(`never: ${what}`)))).pipe(
    Effect.retry({ schedule: Schedule.spaced("50 millis"), times: 300 })
  )
