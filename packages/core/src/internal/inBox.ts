/** Short commands of our own in a box, run through its provider's `exec`. */
import { Effect, Stream } from "effect"
import type { Backend } from "../Provisioners.ts"
import * as SandboxError from "../SandboxError.ts"
import type { InstanceRef } from "../Session.ts"

/** How a command ended and the end of what it wrote. */
export interface Outcome {
  readonly code: number
  /** At most the last 4 MiB. */
  readonly stdout: string
  /** At most the last 8 KiB. */
  readonly stderr: string
}

const stdoutLimit = 4 * 1024 * 1024
const stderrLimit = 8 * 1024

/** Runs a POSIX shell script with arguments beside it, never inside it. `stdin` is what it reads. */
export const script = Effect.fnUntraced(function* (
  backend: Backend,
  ref: InstanceRef,
  options: {
    readonly script: string
    readonly args?: ReadonlyArray<string> | undefined
    readonly stdin?: string | undefined
    readonly cwd?: string | undefined
    readonly env?: Readonly<Record<string, string>> | undefined
  }
) {
  const { args = [], cwd, env, stdin } = options
  const handle = yield* backend.exec(ref, {
    argv: ["sh", "-c", options.script, "sandbox", ...args],
    ...(cwd === undefined ? {} : { cwd }),
    ...(env === undefined ? {} : { env }),
    ...(stdin === undefined ? {} : { stdin: Stream.make(new TextEncoder().encode(stdin)) })
  })
  const decoders = { 1: new TextDecoder(), 2: new TextDecoder() }
  const written = { 1: "", 2: "" }
  yield* Stream.runForEach(handle.output, ({ bytes, fd }) =>
    Effect.sync(() => {
      const limit = fd === 1 ? stdoutLimit : stderrLimit
      written[fd] = (written[fd] + decoders[fd].decode(bytes, { stream: true })).slice(-limit)
    })
  )
  const { code } = yield* handle.exit
  const outcome: Outcome = { code, stdout: written[1], stderr: written[2] }
  return outcome
}, Effect.scoped)

/** The same for a script that has to succeed; answers what it wrote to stdout. `what` says what it is for. */
export const mustRun = Effect.fnUntraced(function* (
  backend: Backend,
  ref: InstanceRef,
  what: string,
  options: Parameters<typeof script>[2]
) {
  const outcome = yield* script(backend, ref, options)
  if (outcome.code === 0) return outcome.stdout
  const said = outcome.stderr.trim().split("\n").at(-1) ?? ""
  return yield* SandboxError.make("ERR_EXEC_FAILED", {
    message: `${what} failed in the box with exit code ${outcome.code}${said === "" ? "" : `: ${said}`}`,
    nextStep: "make sure that the box has `sh` and the usual tools, and that its disk is not full",
    details: { provider: backend.name, exit_code: outcome.code }
  })
})
