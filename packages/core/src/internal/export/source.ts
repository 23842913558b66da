/** Where the work of an export is read: the session's checkout or, where there is none, what was saved of it. */
import { Effect, Path } from "effect"
import { CheckpointStore } from "../../CheckpointStore.ts"
import * as Git from "../../Git.ts"
import * as Mirror from "../../Mirror.ts"
import { Provisioners } from "../../Provisioners.ts"
import * as SandboxError from "../../SandboxError.ts"
import type { Checkpoint, Session } from "../../Session.ts"
import * as checkpoints from "../checkpoints.ts"
import { fallbackBranch } from "../restore.ts"
import { captured, visible } from "../visible.ts"
import { apply } from "../work/apply.ts"
import { fingerprint } from "../work/capture.ts"
import { fromGit } from "./stage.ts"

export interface Source {
  readonly directory: string
  /** The checkpoint that it was made of; none for the session's own checkout. */
  readonly checkpoint: string | null
}

/**
 * A directory with the session's work: its own, or one that is made in `scratch`.
 *
 * Fails with `ERR_UNSUPPORTED` where only the box can see the work, and with `ERR_CHECKPOINT_INVALID` when what was saved
 * cannot be used.
 */
export const open = Effect.fnUntraced(function* (session: Session, scratch: string) {
  const backend = yield* (yield* Provisioners).get(session.provider)
  const own = yield* visible(session, backend)
  if (own !== undefined) return { directory: own.directory, checkpoint: null } satisfies Source
  const { withWork } = yield* checkpoints.newest(session)
  if (session.state !== "stopped" || withWork === undefined) return yield* unseen(session, backend.name)
  const directory = yield* materialise(session, withWork, scratch)
  return { directory, checkpoint: withWork.id } satisfies Source
})

const materialise = Effect.fnUntraced(
  function* (session: Session, checkpoint: Checkpoint, scratch: string) {
    const path = yield* Path.Path
    const { manifest } = yield* checkpoints.verify(checkpoint)
    const { work } = manifest
    if (work === null || session.commit === null) return yield* Effect.die(`checkpoint ${checkpoint.id} has no work`)
    const { commit, repository } = session
    const base = repository.startsWith("/") ? repository : yield* Mirror.ensure(repository, commit)
    const directory = path.join(scratch, "checkout")
    yield* Git.output(["clone", "--quiet", "--no-checkout", "--template=", "--", base, directory], {
      timeout: "10 minutes"
    })
    // contents that git LFS keeps are neither in the checkpoint nor in what is exported
    const env = { GIT_LFS_SKIP_SMUDGE: "1" }
    yield* Git.output(["checkout", "--quiet", "--detach", commit], { cwd: directory, env, timeout: "10 minutes" })
    const store = yield* CheckpointStore
    yield* apply({
      directory,
      document: work.document,
      object: (digest) => store.object(checkpoint.id, digest),
      fallbackBranch: fallbackBranch(session)
    })
    const { exclude, include } = work
    const there = yield* fingerprint({ ...captured(session, directory), include, exclude })
    if (there.fingerprint !== work.fingerprint) return yield* different(checkpoint)
    return directory
  },
  Effect.catchTag("GitError", fromGit)
)

const different = ({ id }: Checkpoint) =>
  SandboxError.make("ERR_RESTORE_UNVERIFIED", {
    message: `what was made of checkpoint ${id} is not what it has, although all of it was written`,
    nextStep: "bring the session up with `sandbox resume`, and export it then",
    details: { checkpoint: id }
  })

const unseen = (session: Session, provider: string) => {
  const halted = session.state === "stopped"
  return SandboxError.make("ERR_UNSUPPORTED", {
    message: halted
      ? `${session.name} has no checkout on this host, and no checkpoint with work in it`
      : `the checkout of ${session.name} cannot be seen from this host`,
    nextStep: halted
      ? `bring it up with \`sandbox resume ${session.id}\`, and export it then`
      : "push the work from inside the session",
    sessionId: session.id,
    state: session.state,
    details: { provider, capability: "checkout" }
  })
}
