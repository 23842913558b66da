/** Whether work would be lost with a box. */
import { Effect } from "effect"
import { Provisioners } from "../Provisioners.ts"
import * as SandboxError from "../SandboxError.ts"
import type { Session } from "../Session.ts"
import * as Setup from "../Setup.ts"
import * as checkpoints from "./checkpoints.ts"
import { holds } from "./saved.ts"
import { canSee, look } from "./visible.ts"
import { type CaptureOptions, fingerprint } from "./work/capture.ts"

/** Whether anybody can have worked in the session: it was usable once, and has not been given up yet. */
const mayHaveWork = (session: Session): boolean =>
  session.instance !== null && session.readyAt !== null && session.state !== "tearing_down"

/** Whether the disk of the box is wanted beside its checkout: that goes with the box, and no checkpoint has it. */
export const hasVolume = (session: Session): boolean =>
  mayHaveWork(session) && Setup.keeping(session.setup).volume === "persist"

/** Refuses to remove a box whose disk is wanted, be it by halting it. */
export const refuseVolume = Effect.fnUntraced(function* (session: Session, verb: "down" | "destroy") {
  if (!hasVolume(session)) return
  const force = verb === "destroy" && session.state === "ready" ? " --force" : ""
  return yield* SandboxError.make("ERR_DATA_LOSS_UNCONFIRMED", {
    message: `${session.name}: what its box has on its disk outside the checkout is to be kept (durability.volume), and is nowhere else`,
    nextStep: `take out what is needed with \`sandbox cp ${session.id}:<path> <directory>\`, then give the rest up with \`sandbox ${verb} ${session.id}${force} --confirm-data-loss\``,
    sessionId: session.id,
    state: session.state,
    details: { volume: "persist" }
  })
})

/**
 * Refuses while the checkout holds work that is neither on a branch outside the box nor in a checkpoint that can be used.
 *
 * `begun`: the operation has done something already, so that it fails and is not merely refused.
 */
export const nothingUnsaved = Effect.fnUntraced(function* (
  session: Session,
  /** As it was typed, with the flags that matter. */
  verb: "down" | "down --delete-worktree" | "destroy",
  begun: boolean = false
) {
  if (session.instance === null || !mayHaveWork(session)) return
  const backend = yield* (yield* Provisioners).get(session.provider)
  if (!canSee(backend)) return
  const [name, ...flags] = verb.split(" ")
  const force = verb === "destroy" && session.state === "ready" ? ["--force"] : []
  const unconfirmed = (what: string) =>
    SandboxError.make(begun ? "ERR_DESTROY_FAILED" : "ERR_DATA_LOSS_UNCONFIRMED", {
      message: `${session.name}: ${what}`,
      nextStep: `save it with \`sandbox checkpoint create ${session.id}\`, or give it up with \`sandbox ${[name, session.id, ...flags, ...force].join(" ")} --confirm-data-loss\``,
      retryable: false,
      sessionId: session.id,
      state: session.state,
      details: { worktree: session.workspacePath }
    })
  const looked = yield* look(session, backend).pipe(
    // with the box went whatever was in it
    Effect.catchIf(
      (error) => error.details?.["reason"] === "NotFound",
      () => Effect.undefined
    ),
    Effect.mapError((error) => unconfirmed(`whether there is unsaved work could not be seen: ${error.message}`))
  )
  if (looked === undefined) return
  const { options, status: seen } = looked
  const isClean = seen.dirtyFiles === 0 && seen.unpublishedCommits === 0
  if (!seen.present || (isClean && !(yield* hasNamed(session, options)))) return
  if (yield* isSaved(session, options)) return
  return yield* unconfirmed(
    isClean
      ? "ignored files that durability.include names are nowhere else"
      : `${count(seen.dirtyFiles, "changed or untracked file")} and ${count(seen.unpublishedCommits, "commit")} are nowhere else`
  )
}, Effect.scoped)

/** Whether there are files that git ignores, and that the session takes along by name. A worktree of the user's own keeps its. */
const hasNamed = Effect.fnUntraced(
  function* (session: Session, options: CaptureOptions | undefined) {
    const { include } = Setup.keeping(session.setup)
    if (options === undefined || include.length === 0 || session.setup?.reuseWorktree === true) return false
    const named = yield* fingerprint(options)
    return named.fingerprint !== (yield* fingerprint({ ...options, include: [] })).fingerprint
  },
  // whatever keeps it from being seen, there may be some
  Effect.orElseSucceed(() => true)
)

/** Whether the newest checkpoint with work has exactly what the checkout holds now, and is whole. */
const isSaved = Effect.fnUntraced(
  function* (session: Session, options: CaptureOptions | undefined) {
    const { withWork } = yield* checkpoints.newest(session)
    if (withWork === undefined || options === undefined) return false
    return yield* holds(withWork, options)
  },
  // whatever keeps it from being proven, it is not proven
  Effect.orElseSucceed(() => false)
)

/** A number with its noun. */
export const count = (n: number, what: string): string => `${n} ${what}${n === 1 ? "" : "s"}`
