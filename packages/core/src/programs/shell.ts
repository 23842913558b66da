/** `shell`: an interactive shell in a session's box. */
import { Effect } from "effect"
import * as sessions from "../internal/sessions.ts"
import type { ExecHandle, ExecRequest } from "../Provisioner.ts"
import type { SandboxError } from "../SandboxError.ts"
import { exec } from "./exec.ts"

export interface ShellOptions extends Pick<ExecRequest, "cwd" | "env" | "stdin"> {
  /** A session id, a unique prefix of one, or a name. */
  readonly session: string
  /** The size of the caller's terminal. */
  readonly tty: { readonly cols: number; readonly rows: number }
}

/** A running shell, and whose box it is in. */
export interface ShellHandle extends ExecHandle<SandboxError> {
  readonly sessionId: string
  readonly name: string
  readonly provider: string
}

/**
 * Starts the box's own `$SHELL` if it is set and can be run, else bash, else sh; closing the scope ends it and all it
 * started.
 *
 * Takes no claim. Fails with `ERR_NOT_READY` when the session is not up, `ERR_UNSUPPORTED` where the provider has no
 * terminals.
 */
export const shell = Effect.fn("shell")(function* ({ session: reference, ...request }: ShellOptions) {
  const { id, name, provider } = yield* sessions.find(reference)
  const handle = yield* exec({ ...request, session: id, argv: ["sh", "-c", choose] })
  return { ...handle, sessionId: id, name, provider } satisfies ShellHandle
})

/** Accounts for services have a shell that only says no. */
const choose = `case "\${SHELL-}" in
*/nologin | */false) ;;
/*) if [ -f "$SHELL" ] && [ -x "$SHELL" ]; then exec "$SHELL"; fi ;;
esac
if command -v bash >/dev/null 2>&1; then SHELL=$(command -v bash); else SHELL=$(command -v sh || echo /bin/sh); fi
export SHELL
exec "$SHELL"`
