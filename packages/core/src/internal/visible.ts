/** The checkout of a session, where it can be seen from this host: in its own place, or as a copy of what is in the box. */
import { Effect } from "effect"
import type { WorkspaceStatus } from "../Provisioner.ts"
import type { Backend } from "../Provisioners.ts"
import * as Repository from "../Repository.ts"
import type { InstanceRef, Session } from "../Session.ts"
import * as Setup from "../Setup.ts"
import { type Copy, copy, isThere } from "./boxCheckout/copy.ts"
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

/** Whether there is one that can be seen from this host. */
export const isVisible = Effect.fnUntraced(function* ({ instance, workspacePath }: Session, backend: Backend) {
  if (instance === null || !canSee(backend) || (workspacePath === null && !isOurs(backend))) return false
  return yield* hasOne(backend, instance)
})

/** Whether the box has its checkout. Fails where that cannot be told. */
export const hasOne = Effect.fnUntraced(function* (backend: Backend, ref: InstanceRef) {
  return isOurs(backend) ? yield* isThere(backend, ref) : (yield* backend.workspaceStatus(ref)).present
})

/** What would be lost with the checkout of a box, `base` being a commit that its repository has. */
export const status = Effect.fnUntraced(function* (backend: Backend, ref: InstanceRef, base: string | null) {
  if (!isOurs(backend)) return yield* backend.workspaceStatus(ref)
  const made = yield* copy(backend, ref)
  return made === undefined ? nothing : yield* statusOf(made.directory, base)
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
    const options = status.present && workspacePath !== null ? captured(session, workspacePath) : undefined
    return { status, options }
  }
  const options = yield* copied(session, backend, instance)
  return { status: options === undefined ? nothing : yield* statusOf(options.directory, session.commit), options }
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
  const made = yield* copy(backend, ref)
  if (made === undefined) return undefined
  const { directory, special } = made
  const warnings = special === 0 ? [] : [`left out: ${special} that are no files (devices, pipes or sockets)`]
  const options: Visible = { ...captured(session, directory), repository: undefined, copy: made, warnings }
  return options
})
