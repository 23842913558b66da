/** The checkout of a session, where it can be seen from this host. */
import { Effect } from "effect"
import type { Backend } from "../Provisioners.ts"
import * as Repository from "../Repository.ts"
import type { Session } from "../Session.ts"
import * as Setup from "../Setup.ts"
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

/** Where the checkout is and how it is captured; none where there is none, or where only the box can see it. */
export const visible = Effect.fnUntraced(function* (session: Session, backend: Backend) {
  const { instance, workspacePath } = session
  if (instance === null || workspacePath === null || !backend.capabilities.includes("workspace")) return undefined
  // the provider knows whether this is the place where the path means anything
  const { present } = yield* backend.workspaceStatus(instance)
  return present ? captured(session, workspacePath) : undefined
})
