/** `export`: takes a session's work out of it, as a branch of its repository or as files. */
import { Effect, Path } from "effect"
import * as Claim from "../Claim.ts"
import { Directories } from "../Host.ts"
import * as autoTeardown from "../internal/autoTeardown.ts"
import * as files from "../internal/export/files.ts"
import * as pushing from "../internal/export/push.ts"
import { from, type Request, readRequest, refuseUnexportable } from "../internal/export/request.ts"
import * as source from "../internal/export/source.ts"
import { prepare, type Stage, scratchIn, type Work } from "../internal/export/stage.ts"
import { refuseElsewhere } from "../internal/reach.ts"
import * as ready from "../internal/ready.ts"
import { standing } from "../internal/requests.ts"
import * as sessions from "../internal/sessions.ts"
import type { ExportOptions } from "../Options.ts"
import type { ExportResult } from "../Results.ts"
import * as SandboxError from "../SandboxError.ts"
import { Exported, type Session } from "../Session.ts"
import * as Time from "../Time.ts"
import * as View from "../View.ts"

/**
 * Exports HEAD and, as one commit on top, what is not committed; the checkout stays as it is. Nothing else moves the session
 * meanwhile, whatever is forced. The same work exported to the same place again is `already`.
 *
 * Fails with `ERR_NOT_READY` for a session that is none of ready, completed and stopped, and with `ERR_EXPORT_FAILED`, naming
 * the command that finishes it by hand, when the target refuses the work.
 */
export const exportSession = Effect.fn("export")(function* (options: ExportOptions) {
  const session = yield* sessions.find(options.session)
  const request = yield* readRequest(session, options)
  const { branch, force, message, output, session: _ } = options
  const args = { session: session.id, to: request.to, branch, force: force || undefined, message, output }
  const before = yield* standing("export", args, options)
  if (before._tag === "succeeded") {
    const result = before.operation.result as unknown as ExportResult
    return { ...result, autoTeardown: yield* autoTeardown.look(before.session), replayed: true as const }
  }
  yield* refuseUnexportable(session)
  yield* refuseElsewhere(session)
  const result = yield* Claim.withClaim(
    { session, kind: "export", operation: before.operation, from, exporting: request.branch },
    {
      verb: "export",
      use: (held) => Effect.scoped(use(held, request)),
      // nothing of the session was moved, and the lock goes with the claim
      settle: () => Effect.succeed({})
    }
  )
  const teardown = yield* autoTeardown.after(session.id)
  const answer: ExportResult = {
    ...result,
    autoTeardown: teardown,
    state: teardown.destroyed ? "destroyed" : result.state
  }
  return answer
})

const use = Effect.fnUntraced(function* (held: Claim.Held, request: Request) {
  const row = yield* held.row
  const path = yield* Path.Path
  const exports = path.join((yield* Directories).state, "exports", row.id)
  const { branch, to } = request
  const made = yield* held.phase("collect", gather(held, request, exports))
  const { stage, work } = made
  const bundle = path.join(request.output ?? exports, files.bundleName(work.commit, branch))
  const outcome =
    to === "branch"
      ? yield* toBranch(held, made, request, { bundle, exports })
      : to === "bundle"
        ? {
            target: bundle,
            artifact: null,
            already: yield* held.phase(
              "write",
              files.bundle(stage, yield* somethingNew(row, work), { branch, file: bundle })
            )
          }
        : yield* toPatches(held, made, request.output ?? path.join(exports, work.commit), request.output === undefined)
  const last = row.lastExport
  const now = yield* Time.millis
  const { already, artifact, target } = outcome
  const same =
    already && last?.to === to && last.branch === branch && last.commit === work.commit && last.target === target
  const exported = same
    ? last
    : new Exported({
        operationId: held.operationId,
        to,
        branch,
        commit: work.commit,
        target,
        uncommitted: work.uncommitted,
        exportedAt: now
      })
  const result: ExportResult = {
    sessionId: row.id,
    name: row.name,
    operationId: held.operationId,
    state: row.state,
    ...View.exported(exported)!,
    uncommitted: work.uncommitted,
    artifact,
    ...(already ? { already: true as const } : {}),
    autoTeardown: { destroyed: false, reason: "it was exported" },
    warnings: yield* held.warnings
  }
  return ready.done(
    result,
    same
      ? {}
      : {
          set: { lastExport: exported },
          events: [{ type: "exported", data: { to, branch, commit: work.commit, target, already } }]
        }
  )
})

const gather = Effect.fnUntraced(function* (held: Claim.Held, request: Request, exports: string) {
  const row = yield* held.row
  const scratch = yield* scratchIn(exports)
  const { checkpoint, directory } = yield* source.open(row, scratch)
  if (checkpoint !== null) yield* held.warn(`the checkout is gone: the work is that of checkpoint ${checkpoint}`)
  const { stage, warnings, work } = yield* prepare({
    directory,
    base: row.commit,
    repository: row.repository,
    exclude: row.setup?.inheritEnv.map(({ file }) => file) ?? [],
    message: request.message,
    scratch
  })
  yield* Effect.forEach(warnings, held.warn)
  return { stage, work }
})

interface Made {
  readonly stage: Stage
  readonly work: Work
}

const toBranch = Effect.fnUntraced(function* (
  held: Claim.Held,
  { stage, work }: Made,
  { branch, force }: Request,
  { bundle, exports }: { readonly bundle: string; readonly exports: string }
) {
  const row = yield* held.row
  const path = yield* Path.Path
  const last = row.lastExport
  const isNew = work.base !== work.commit
  // kept before anything is asked to take it
  if (isNew) yield* held.phase("artifact", files.bundle(stage, work, { branch, file: bundle }))
  const options: pushing.Push = {
    session: row,
    branch,
    force,
    artifact: isNew ? bundle : null,
    former: last === null ? null : path.join(exports, files.bundleName(last.commit, last.branch))
  }
  const seen = yield* held.phase("look", pushing.tipOf(options))
  const already = seen === work.commit
  if (!already) {
    yield* held.phase("push", pushing.push(stage, work, options, seen))
    yield* held.phase("verify", pushing.verify(work, options))
  }
  return { target: row.repository, artifact: options.artifact, already }
})

const toPatches = Effect.fnUntraced(function* (
  held: Claim.Held,
  { stage, work }: Made,
  directory: string,
  ours: boolean
) {
  const { base } = yield* somethingNew(yield* held.row, work)
  if (base === null) {
    return yield* SandboxError.make("ERR_EXPORT_FAILED", {
      message:
        "the work has no commit in common with the one that the session began at, so that patches have no beginning",
      nextStep: "export a bundle or a branch: `--to bundle`",
      retryable: false
    })
  }
  const { already, warnings } = yield* held.phase("write", files.patches(stage, work, base, { directory, ours }))
  yield* Effect.forEach(warnings, held.warn)
  return { target: directory, artifact: null, already }
})

const somethingNew = (row: Session, work: Work): Effect.Effect<Work, SandboxError.SandboxError> =>
  work.base !== work.commit
    ? Effect.succeed(work)
    : Effect.fail(
        SandboxError.make("ERR_INVALID_ARGUMENT", {
          message: `${row.name} has no work beyond ${work.commit.slice(0, 12)}, which its repository has`,
          nextStep: `there is nothing to write; a branch can be made of it all the same: \`sandbox export ${row.id} --to branch\``,
          sessionId: row.id,
          state: row.state
        })
      )
