/** Paths in boxes: how they are written, and what stands there, seen through nothing but the provider's archives. */
import { Effect, Stream } from "effect"
import * as archive from "../Archive.ts"
import { type Backend, Provisioners } from "../Provisioners.ts"
import * as SandboxError from "../SandboxError.ts"
import type { InstanceRef, Session } from "../Session.ts"
import * as sessions from "./sessions.ts"
import { isMoved, usable } from "./usable.ts"

/** A session's box, and who answers for its files. */
export interface Box {
  readonly session: Session
  readonly ref: InstanceRef
  readonly backend: Backend
}

/** `<session>:<path>`, or a path on this host: one that has a slash or a dot before its first colon, or none. */
export const parse = (text: string): { readonly session: string | undefined; readonly path: string } => {
  const [, session, path = text] = /^([A-Za-z0-9][\w-]*):(.*)$/s.exec(text) ?? []
  return { session, path }
}

/** A path without what only says how it is meant: `contents` for what is in a directory, `follow` for what a link points to. */
export const meaning = (given: string) => {
  const contents = given === "" || /(^|\/)\.$/.test(given)
  const trimmed = given.replace(/(?<=^|\/)\.$/, "").replace(/(?<=[^/])\/+$/, "")
  const isRoot = /^\/+$/.test(trimmed)
  return {
    path: trimmed === "" ? "." : isRoot ? "/" : trimmed,
    contents: contents || isRoot,
    follow: contents || given.endsWith("/")
  }
}

export const parentOf = (path: string): string => {
  const at = path.lastIndexOf("/")
  return at < 0 ? "." : at === 0 ? "/" : path.slice(0, at)
}

export const nameOf = (path: string): string => path.slice(path.lastIndexOf("/") + 1)

/** The box of a session that nobody is moving. Fails with `ERR_NOT_READY` when there is none to copy from or to. */
export const open = Effect.fnUntraced(function* (reference: string) {
  const session = yield* sessions.find(reference)
  if (session.instance === null || isMoved(session)) yield* usable(session)
  const backend = yield* (yield* Provisioners).get(session.provider)
  return { session, ref: session.instance!, backend } satisfies Box
})

/** Says of a box that cannot serve files while it is halted what brings it up. */
export const explained = <A, R>(box: Box, effect: Effect.Effect<A, SandboxError.SandboxError, R>) =>
  Effect.catchIf(effect, SandboxError.hasCode("ERR_NOT_READY"), (error) =>
    Effect.andThen(usable(box.session), Effect.fail(error))
  )

export const shown = ({ session }: Box, path: string): string => `${session.name}:${path}`

export const absent = (box: Box, path: string) =>
  SandboxError.make("ERR_INVALID_ARGUMENT", {
    message: `there is no ${shown(box, path)}`,
    nextStep: `look with \`sandbox exec ${box.session.name} -- ls\`; a path that does not start with / starts at the checkout`,
    sessionId: box.session.id,
    details: { field: "from" }
  })

export const noDirectory = (box: Box, path: string) =>
  SandboxError.make("ERR_INVALID_ARGUMENT", {
    message: `there is no directory ${shown(box, path)}`,
    nextStep: `make it with \`sandbox exec ${box.session.name} -- mkdir -p ${path}\`, or copy to another place`,
    sessionId: box.session.id,
    details: { field: "to" }
  })

const isMissing = (error: unknown): boolean =>
  SandboxError.isSandboxError(error) && error.details?.["reason"] === "NotFound"

/** Something in the box as an archive. */
export const read = (box: Box, path: string): Stream.Stream<Uint8Array, SandboxError.SandboxError> =>
  Stream.catch(box.backend.readFiles(box.ref, path), (error) =>
    Stream.fromEffect(
      isMissing(error) ? Effect.andThen(present(box, path, error), Effect.fail(absent(box, path))) : Effect.fail(error)
    )
  )

export const write = (box: Box, directory: string, archived: Stream.Stream<Uint8Array>) =>
  box.backend.writeFiles(box.ref, directory, archived)

/** What stands at a path, its links not followed; nothing where nothing does. */
export const look: (box: Box, path: string) => Effect.Effect<archive.Entry | undefined, SandboxError.SandboxError> =
  Effect.fnUntraced(function* (box, path) {
    return yield* archive.first(box.backend.readFiles(box.ref, path)).pipe(
      Effect.catchTag("Unusable", ({ message }) =>
        Effect.fail(
          SandboxError.make("ERR_EXEC_FAILED", {
            message,
            nextStep: "try again; if it stays, report it",
            details: { operation: "files" }
          })
        )
      ),
      Effect.catchIf(isMissing, (error) => Effect.as(present(box, path, error), undefined))
    )
  })

/** A provider that finds nothing may be missing the path, or the whole box. */
const present = Effect.fnUntraced(function* (box: Box, path: string, error: SandboxError.SandboxError) {
  if (path === ".") return yield* error
  yield* archive.first(box.backend.readFiles(box.ref, ".")).pipe(
    Effect.catchTag("Unusable", () => Effect.void),
    Effect.catchIf(isMissing, () => Effect.fail(error))
  )
})

/** Where a path leads once the links at its end are followed. */
export const followed = Effect.fnUntraced(function* (box: Box, path: string) {
  let at = path
  for (let links = 0; links < 40; links++) {
    const entry = yield* look(box, at)
    if (entry?.kind !== "symlink") return at
    const target = archive.fromName(entry.target).replace(/(?<=[^/])\/+$/, "")
    at = target.startsWith("/") ? target : `${parentOf(at) === "/" ? "" : parentOf(at)}/${target}`
  }
  return yield* absent(box, path)
})

/** What stands at a path once its links are followed. */
export const lookThrough = Effect.fnUntraced(function* (box: Box, path: string) {
  return (yield* look(box, yield* followed(box, path)))?.kind
})
