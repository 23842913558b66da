/** `exec`: a command in a session's box, watched by its caller or left to run by itself. */
import { Effect } from "effect"
import { Ids } from "../Ids.ts"
import * as environment from "../internal/environment.ts"
import * as sessions from "../internal/sessions.ts"
import * as supervisor from "../internal/supervisor.ts"
import { usable, withWayOut } from "../internal/usable.ts"
import type { ExecRequest } from "../Provisioner.ts"
import { Provisioners } from "../Provisioners.ts"
import type { DetachedResult } from "../Results.ts"
import * as SandboxError from "../SandboxError.ts"

export interface ExecOptions extends ExecRequest {
  /** A session id, a unique prefix of one, or a name. */
  readonly session: string
}

/**
 * Starts a command in the box and answers its handle; closing the scope ends the command and all it started.
 *
 * It has the session's environment, with `env` on top. Takes no claim: it runs beside checkpoints and exports. Fails with
 * `ERR_NOT_READY` when the session is not up.
 */
export const exec = Effect.fn("exec")(function* (options: ExecOptions) {
  const { env, session: reference, ...request } = options
  const { backend, variables, session } = yield* prepare(reference, options.argv)
  return yield* backend.exec(session.instance!, { ...request, env: { ...variables, ...env } }).pipe(withWayOut(session))
})

/**
 * Starts a command that outlives its caller, under the same watch as a service, and answers the name of its log.
 *
 * It ends with the box. Fails as `exec` does, and with `ERR_EXEC_FAILED` in a box that has no `sh`.
 */
export const execDetached = Effect.fn("execDetached")(function* (
  options: Pick<ExecOptions, "session" | "argv" | "cwd" | "env">
) {
  const { backend, session, variables } = yield* prepare(options.session, options.argv)
  const run = yield* (yield* Ids).next("run")
  yield* supervisor.start(backend, session.instance!, {
    name: run,
    argv: options.argv,
    cwd: options.cwd,
    env: { ...variables, ...options.env }
  })
  const result: DetachedResult = { sessionId: session.id, name: session.name, run, warnings: [] }
  return result
})

const prepare = Effect.fnUntraced(function* (reference: string, argv: ReadonlyArray<string>) {
  if (argv.length === 0 || argv[0] === "") {
    return yield* SandboxError.make("ERR_INVALID_ARGUMENT", {
      message: "no command was given",
      nextStep: `put it behind two dashes: sandbox exec ${reference} -- ls`,
      details: { field: "argv" }
    })
  }
  const session = yield* sessions.find(reference)
  yield* usable(session)
  const backend = yield* (yield* Provisioners).get(session.provider)
  return {
    session,
    backend,
    variables: environment.all(yield* withWayOut(session)(environment.read(backend, session)))
  }
})
