/** Whether the compose files of a checkout are those that somebody has accepted. */
import { Effect, FileSystem, Stream } from "effect"
import { Hasher } from "../../Hasher.ts"
import * as SandboxError from "../../SandboxError.ts"
import type { Session } from "../../Session.ts"
import type * as Setup from "../../Setup.ts"
import * as Trust from "../../Trust.ts"

/** The digest of the files together, each by the name that the setup gives it. `at` is where they are. */
export const digestOf = Effect.fnUntraced(function* ({ files }: Setup.Compose, at: ReadonlyArray<string>) {
  const fs = yield* FileSystem.FileSystem
  const { sha256 } = yield* Hasher
  const digests = yield* Effect.forEach(
    files,
    Effect.fnUntraced(function* (name, index) {
      const bytes = yield* Effect.mapError(fs.readFile(at[index]!), ({ message }) => unreadable(name, message))
      return [name, yield* sha256(Stream.make(bytes))] as const
    })
  )
  return yield* Trust.digestOf(digests)
})

const unreadable = (file: string, why: string) =>
  SandboxError.make("ERR_CONFIG_INVALID", {
    message: `compose: ${file} cannot be read: ${why}`,
    nextStep: "make it a file that can be read",
    details: { field: file, compose: true }
  })

export interface Checked {
  readonly row: Pick<Session, "branch" | "id" | "workBranch">
  readonly compose: Setup.Compose
  readonly digest: string
  /** What was brought up first beside a box that isolates: what runs in it can write the file, and is not to have another run. */
  readonly first: string | undefined
}

/** Fails with `ERR_CONFIG_UNTRUSTED` for files that nobody has accepted as they are. */
export const check = Effect.fnUntraced(function* ({ compose, digest, first, row }: Checked) {
  const names = compose.files.join(", ")
  const details = { field: "compose.file", file: compose.files[0], runs: ["compose.file"] }
  if (compose.digest !== undefined && digest !== compose.digest) {
    return yield* SandboxError.make("ERR_CONFIG_UNTRUSTED", {
      message: `${names} on ${row.workBranch ?? row.branch} is not what was read, and accepted, beside the repository's sandbox.yaml`,
      nextStep:
        "bring the session up where the repository has the branch's compose file checked out, or name a configuration of your own with --config",
      details
    })
  }
  if (first !== undefined && digest !== first) {
    return yield* SandboxError.make("ERR_CONFIG_UNTRUSTED", {
      message: `${names} in the box is not what the session was first brought up with: this host's engine would run what the box wrote`,
      nextStep: `put it back as it was (\`sandbox cp FILE ${row.id}:${compose.files[0]}\`), or read it, bring the work to a branch with \`sandbox export\`, and bring up a session of that branch`,
      details
    })
  }
})
