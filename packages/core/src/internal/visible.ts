/** The checkout of a session, where it can be seen from this host: in its own place, or as a copy of what is in the box. */
import { Effect } from "effect"
import * as Mirror from "../Mirror.ts"
import type { WorkspaceStatus } from "../Provisioner.ts"
import type { Backend } from "../Provisioners.ts"
import * as Repository from "../Repository.ts"
import * as SandboxError from "../SandboxError.ts"
import type { InstanceRef, Session } from "../Session.ts"
import * as Setup from "../Setup.ts"
import { type Copy, copy, type Extent, extent } from "./boxCheckout/copy.ts"
import { status as statusOf } from "./boxCheckout/status.ts"
import { isOurs } from "./boxCheckout.ts"
import type { CaptureOptions } from "./work/capture.ts"

/** How the work in a directory is captured for a session. */
export const captured = (session: Session, directory: string): CaptureOptions => ({
  directory,
  repository: Repository.fromLocation(session.repository)._tag === "path" ? session.repository : undefined,
  base: session.commit,
  include: Setup.keeping(session.setup).include,
  // the host's own files, which a session is given and does not own
  exclude: session.setup?.inheritEnv.map(({ file }) => file) ?? []
})

/** A checkout that can be seen. */
export interface Visible extends CaptureOptions {
  /** Present: this is a copy, and what is changed in it is not changed in the box. */
  readonly copy?: Copy | undefined
}

const nothing: WorkspaceStatus = { present: false, dirtyFiles: 0, unpublishedCommits: 0 }

/** Whether checkouts of the provider's boxes can be seen at all. */
export const canSee = (backend: Backend): boolean => backend.capabilities.includes("workspace") || isOurs(backend)

/** Whether there is one that can be seen from this host, and that holds what its session did. */
export const isVisible = Effect.fnUntraced(function* (session: Session, backend: Backend) {
  const { instance, workspacePath } = session
  if (instance === null || !canSee(backend) || (workspacePath === null && !isOurs(backend))) return false
  const there = yield* seen(backend, instance)
  return there === "whole" || (there === "begun" && !isReplaced(session))
})

/** Whether the box has its checkout, or what was begun to become one. Fails where that cannot be told. */
export const hasOne = (backend: Backend, ref: InstanceRef) =>
  Effect.map(seen(backend, ref), (there) => there !== "nothing")

/** Whether the box has a whole checkout. What cannot be told counts as one. */
export const isWhole = Effect.fnUntraced(
  function* ({ instance }: Session, backend: Backend) {
    if (instance === null) return false
    return !canSee(backend) || (yield* seen(backend, instance)) === "whole"
  },
  Effect.orElseSucceed(() => true)
)

const seen = Effect.fnUntraced(function* (backend: Backend, ref: InstanceRef) {
  if (isOurs(backend)) return yield* extent(backend, ref)
  return ((yield* backend.workspaceStatus(ref)).present ? "whole" : "nothing") satisfies Extent
})

/** Whether what is begun in its box is nobody's work: it never was ready, or what is being restored is saved. */
const isReplaced = ({ readyAt, restoreFrom }: Session): boolean => readyAt === null || restoreFrom !== null

/** What would be lost with the checkout of a box, `base` being a commit that its repository has. */
export const status = Effect.fnUntraced(function* (backend: Backend, ref: InstanceRef, base: string | null) {
  if (!isOurs(backend)) return yield* backend.workspaceStatus(ref)
  const made = yield* copy(backend, ref)
  return made === undefined ? nothing : yield* statusOf(made.directory, { base })
}, Effect.scoped)

/**
 * What would be lost with the checkout, and how it is captured: that not where there is none, or where it cannot be seen from
 * this host. A copy is there until the scope closes.
 */
export const look = Effect.fnUntraced(function* (session: Session, backend: Backend) {
  const { instance, workspacePath } = session
  if (instance === null || !canSee(backend)) return { status: nothing, options: undefined }
  if (!isOurs(backend)) {
    // the provider knows whether this is the place where the path means anything
    const status = yield* backend.workspaceStatus(instance)
    if (!status.present || workspacePath === null) return { status, options: undefined }
    return { status, options: { ...captured(session, workspacePath), origin: yield* origin(session) } }
  }
  const options = yield* copied(session, backend, instance)
  return { status: options === undefined ? nothing : yield* statusOf(options.directory, options), options }
})

/** How the checkout is captured; none where there is none, or where it cannot be seen from this host. */
export const visible = Effect.fnUntraced(function* (session: Session, backend: Backend) {
  const { instance } = session
  const options: Visible | undefined =
    instance !== null && isOurs(backend)
      ? yield* copied(session, backend, instance)
      : (yield* look(session, backend)).options
  return options
})

const copied = Effect.fnUntraced(function* (session: Session, backend: Backend, ref: InstanceRef) {
  const made = yield* Effect.mapError(taken(session, backend, ref), (error) => broken(session, error))
  if (made === undefined) return undefined
  const { directory, special } = made
  const warnings = special === 0 ? [] : [`left out: ${special} that are no files (devices, pipes or sockets)`]
  const options: Visible = {
    ...captured(session, directory),
    repository: undefined,
    copied: true,
    origin: yield* origin(session),
    copy: made,
    warnings
  }
  return options
})

const taken = Effect.fnUntraced(function* (session: Session, backend: Backend, ref: InstanceRef) {
  const there = yield* extent(backend, ref)
  if (there === "begun" && isReplaced(session)) return undefined
  return yield* copy(backend, ref, there)
})

/** The repository on this host that the checkout is of, or the mirror of its URL; none where that cannot be had now. */
const origin = Effect.fnUntraced(function* ({ commit, repository }: Session) {
  if (Repository.fromLocation(repository)._tag === "path") return repository
  if (commit === null) return undefined
  return yield* Effect.orElseSucceed(Mirror.ensure(repository, commit), () => undefined)
})

/** What is begun is finished by whoever brings the session up, and in a box that is halted nothing can be put right. */
const broken = ({ id, stoppedAt }: Session, error: SandboxError.SandboxError) => {
  if (error.code !== "ERR_WORKSPACE_FAILED" || error.retryable) return error
  const way = `sandbox resume ${id} --force`
  if (error.details?.["begun"] === true) return SandboxError.extend(error, { nextStep: `finish it with \`${way}\`` })
  if (stoppedAt === null) return error
  return SandboxError.extend(error, {
    nextStep: `start the box with \`${way}\`, put that right in it, and halt it again`
  })
}
