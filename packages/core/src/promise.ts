/**
 * The programs as a plain asynchronous client: no type of `effect` occurs in its declarations.
 *
 * Cancelling a call by its `AbortSignal` rolls it back before the promise rejects. Failures are `Error`s with the fields
 * of `SandboxFailure`.
 */
import { Duration, Effect, Exit, Layer, ManagedRuntime, References, Scope, Stream } from "effect"
import * as Node from "./node.ts"
import type * as Options from "./Options.ts"
import { Progress } from "./Progress.ts"
import type { ExecHandle } from "./Provisioner.ts"
import * as programs from "./programs/index.ts"
import * as Registration from "./Registration.ts"
import type * as Results from "./Results.ts"
import * as SandboxError from "./SandboxError.ts"

export type * from "./Options.ts"
export type * from "./Results.ts"

export interface ClientOptions {
  /** A file's path or a `postgres://` URL; `SANDBOX_LEDGER`, or the file in the user's state directory, when absent. */
  readonly ledger?: string | undefined
  /** Whose sessions; `SANDBOX_PRINCIPAL_ID`, or the operating system's user, when absent. */
  readonly principal?: string | undefined
  /** Providers by name, each loaded when it is first used: `{ local: { use: () => import("@org/sandbox-provider-local") } }`. */
  readonly providers: Readonly<Record<string, { readonly use: () => Promise<unknown>; readonly options?: unknown }>>
  /** Called with every step and warning; must not throw. */
  readonly onEvent?: ((event: Results.ProgressEvent) => void) | undefined
}

export interface CallOptions {
  readonly signal?: AbortSignal | undefined
}

export interface ExecOptions {
  /** A session id, a unique prefix of one, or a name. */
  readonly session: string
  /** The command and its arguments; no shell is involved. */
  readonly argv: ReadonlyArray<string>
  /** Absolute, or relative to the workspace. */
  readonly cwd?: string | undefined
  readonly env?: Readonly<Record<string, string>> | undefined
  readonly user?: string | undefined
  /** Give the command a terminal of this size. */
  readonly tty?: { readonly cols: number; readonly rows: number } | undefined
  readonly stdin?: AsyncIterable<Uint8Array> | undefined
}

export interface ShellOptions extends Pick<ExecOptions, "session" | "cwd" | "env" | "stdin"> {
  /** The size of the terminal. */
  readonly tty: { readonly cols: number; readonly rows: number }
}

export interface CpOptions {
  /** `<session>:<path>`, or a path on this host. */
  readonly from: string
  /** `<session>:<path>`, or a path on this host. */
  readonly to: string
}

/** A line that a service wrote. */
export interface LogLine {
  readonly service: string
  /** Without its line break. */
  readonly line: Uint8Array
}

/** A running command. */
export interface Execution {
  /** What it writes, in order, with back-pressure. Iterate it once. */
  readonly output: AsyncIterable<{ readonly fd: 1 | 2; readonly bytes: Uint8Array }>
  /** Settles when the command has ended; 128 + the signal's number when a signal ended it. */
  readonly exit: Promise<{ readonly code: number; readonly signal?: string }>
  readonly kill: (signal?: "SIGTERM" | "SIGKILL" | "SIGINT" | "SIGHUP") => Promise<void>
  /** Of a command that has a terminal. */
  readonly resize: (size: { readonly cols: number; readonly rows: number }) => Promise<void>
}

/** The fields that every failure of the client carries. */
export interface SandboxFailure extends Error {
  readonly code: string
  readonly nextStep: string
  readonly retryable: boolean
  readonly operationId: string | null
  readonly sessionId?: string
  readonly state?: string
  readonly replayed?: boolean
  readonly details?: Readonly<Record<string, unknown>>
}

export interface Client {
  readonly up: (options: Options.UpOptions, call?: CallOptions) => Promise<Results.UpResult>
  readonly down: (options: Options.DownOptions, call?: CallOptions) => Promise<Results.DownResult>
  readonly destroy: (options: Options.DestroyOptions, call?: CallOptions) => Promise<Results.DestroyResult>
  readonly resume: (options: Options.ResumeOptions, call?: CallOptions) => Promise<Results.ResumeResult>
  /** Moves a session to another provider: its work, its name and its history go with it, and its old box is removed. */
  readonly switchProvider: (options: Options.SwitchOptions, call?: CallOptions) => Promise<Results.SwitchResult>
  /** Says what a switch would do; changes nothing. */
  readonly planSwitch: (options: Options.SwitchPlanOptions, call?: CallOptions) => Promise<Results.SwitchPlan>
  /** Saves a session's work as it is; the session goes on. */
  readonly checkpoint: (options: Options.CheckpointOptions, call?: CallOptions) => Promise<Results.CheckpointResult>
  readonly checkpoints: (options: Options.CheckpointsOptions, call?: CallOptions) => Promise<Results.CheckpointsResult>
  readonly verifyCheckpoint: (
    options: Options.VerifyCheckpointOptions,
    call?: CallOptions
  ) => Promise<Results.VerifyCheckpointResult>
  readonly removeCheckpoint: (
    options: Options.RemoveCheckpointOptions,
    call?: CallOptions
  ) => Promise<Results.RemoveCheckpointResult>
  /** Makes a session hold the work of a checkpoint; what it held is saved first. */
  readonly restore: (options: Options.RestoreOptions, call?: CallOptions) => Promise<Results.RestoreResult>
  /** Pushes the work to a branch of the session's repository, or writes it to files; the session stays as it is. */
  readonly exportSession: (options: Options.ExportOptions, call?: CallOptions) => Promise<Results.ExportResult>
  /** Says that the work is done, and saves it; the session is destroyed some time after. */
  readonly complete: (options: Options.CompleteOptions, call?: CallOptions) => Promise<Results.CompleteResult>
  /** Sets or clears the time at which `gc` halts the session. */
  readonly extend: (options: Options.ExtendOptions, call?: CallOptions) => Promise<Results.ExtendResult>
  readonly list: (options?: Options.ListOptions, call?: CallOptions) => Promise<Results.ListResult>
  readonly status: (options: Options.StatusOptions, call?: CallOptions) => Promise<Results.StatusResult>
  /**
   * The status of a session, again whenever it has changed, until nobody moves it any more. Aborting the signal, or leaving
   * the loop, ends it.
   */
  readonly watch: (options: Options.StatusOptions, call?: CallOptions) => AsyncIterable<Results.StatusResult>
  readonly history: (options: Options.HistoryOptions, call?: CallOptions) => Promise<Results.HistoryResult>
  readonly gc: (options?: Options.GcOptions, call?: CallOptions) => Promise<Results.GcResult>
  /** Says what is wrong, and what `gc` would do about it; changes nothing. */
  readonly doctor: (options?: Options.DoctorOptions, call?: CallOptions) => Promise<Results.DoctorResult>
  /** Starts a command. Aborting the signal ends it. */
  readonly exec: (options: ExecOptions, call?: CallOptions) => Promise<Execution>
  /** Starts a command that runs on by itself; `logs` has what it writes. */
  readonly execDetached: (
    options: Pick<ExecOptions, "session" | "argv" | "cwd" | "env">,
    call?: CallOptions
  ) => Promise<Results.DetachedResult>
  /** Starts an interactive shell on a terminal. Aborting the signal ends it. */
  readonly shell: (options: ShellOptions, call?: CallOptions) => Promise<Execution>
  /** Copies a file or directory into a session or out of one, with the meanings of `docker cp`. */
  readonly cp: (options: CpOptions, call?: CallOptions) => Promise<Results.CpResult>
  /** What services wrote and, with `follow`, write. Aborting the signal, or leaving the loop, ends it. */
  readonly logs: (options: Options.LogsOptions, call?: CallOptions) => AsyncIterable<LogLine>
  readonly env: (options: Options.EnvOptions, call?: CallOptions) => Promise<Results.EnvResult>
  readonly ports: (options: Options.PortsOptions, call?: CallOptions) => Promise<Results.PortsResult>
  /** Answers where the session's page is. A browser is opened only where the program that calls knows how to. */
  readonly open: (options: Options.OpenOptions, call?: CallOptions) => Promise<Results.OpenResult>
  readonly ownerOf: (options: Options.OwnerOfOptions, call?: CallOptions) => Promise<Results.OwnerOfResult>
  readonly authSync: (options: Options.AuthSyncOptions, call?: CallOptions) => Promise<Results.AuthSyncResult>
  readonly here: (options: Options.HereOptions, call?: CallOptions) => Promise<Results.HereResult>
  /** Ends what is running and closes the ledger. The client cannot be used afterwards. */
  readonly close: () => Promise<void>
}

/** Whether something that was thrown is a failure of the client. */
export const isSandboxFailure = (error: unknown): error is SandboxFailure => SandboxError.isSandboxError(error)

/** How long the output of a command that has ended waits for somebody to read it. */
const unreadFor = Duration.seconds(1)

/** A client over one ledger; nothing is opened before the first call. */
export const createClient = (options: ClientOptions): Client => {
  const providers = Registration.layerAll(options.providers)
  // nobody could receive a span from here
  const untraced = Layer.succeed(References.TracerEnabled)(false)
  const listener = options.onEvent
  const progress =
    listener === undefined ? Layer.empty : Layer.succeed(Progress)((event) => Effect.sync(() => listener(event)))
  const runtime = ManagedRuntime.make(
    Layer.mergeAll(providers.pipe(Layer.provideMerge(Node.layer(options))), progress, untraced)
  )
  type Services = ManagedRuntime.ManagedRuntime.Services<typeof runtime>

  const run = async <A>(
    effect: Effect.Effect<A, SandboxError.SandboxError, Services>,
    call: CallOptions = {}
  ): Promise<A> => {
    const exit = await runtime.runPromiseExit(effect, call.signal === undefined ? {} : { signal: call.signal })
    if (Exit.isSuccess(exit)) return exit.value
    throw SandboxError.fromCause(exit.cause, null)
  }

  type Started = Effect.Effect<ExecHandle<SandboxError.SandboxError>, SandboxError.SandboxError, Services | Scope.Scope>

  const running = async (
    start: (input: { readonly stdin?: Stream.Stream<Uint8Array> }) => Started,
    stdin: ExecOptions["stdin"],
    call: CallOptions
  ): Promise<Execution> => {
    const scope = Scope.makeUnsafe()
    const close = () => runtime.runPromise(Scope.close(scope, Exit.void))
    const input = stdin === undefined ? {} : { stdin: Stream.orDie(Stream.fromAsyncIterable(stdin, (cause) => cause)) }
    const handle = await run(Scope.provide(start(input), scope), call).catch(async (error) => {
      await close()
      throw error
    })
    call.signal?.addEventListener("abort", close, { once: true })
    let reading: Promise<void> | undefined
    const output = async function* () {
      const { promise, resolve } = Promise.withResolvers<void>()
      reading = promise
      try {
        yield* Stream.toAsyncIterable(handle.output)
      } finally {
        resolve()
      }
    }
    const exit = run(handle.exit, call)
    // what was written is still there for whoever reads it, but not for ever for whoever does not begin to
    const end = async () => {
      if (reading === undefined) await run(Effect.sleep(unreadFor))
      await reading
      await close()
    }
    // whoever does not look at how it ended is not to be ended by it
    exit.then(end, close).catch(() => {})
    return {
      output: output(),
      exit,
      kill: (signal = "SIGTERM") => run(handle.kill(signal)),
      resize: (size) => run(handle.resize(size))
    }
  }

  const unlessAborted = <A, E>(stream: Stream.Stream<A, E>, { signal }: CallOptions): AsyncIterable<A> => {
    const aborted = Effect.callback<void>((resume) => {
      if (signal === undefined) return
      const end = () => resume(Effect.void)
      if (signal.aborted) return end()
      signal.addEventListener("abort", end, { once: true })
      return Effect.sync(() => signal.removeEventListener("abort", end))
    })
    return Stream.toAsyncIterable(Stream.interruptWhen(stream, aborted))
  }

  const logs = async function* (request: Options.LogsOptions, call: CallOptions = {}): AsyncIterable<LogLine> {
    const { lines } = await run(programs.logs(request), call)
    yield* unlessAborted(
      Stream.map(lines, ({ bytes, service }): LogLine => ({ service, line: bytes })),
      call
    )
  }

  const watch = async function* (
    request: Options.StatusOptions,
    call: CallOptions = {}
  ): AsyncIterable<Results.StatusResult> {
    const services = await run(Effect.context<Services>(), call)
    yield* unlessAborted(Stream.provideContext(programs.watch(request), services), call)
  }

  return {
    up: (options, call) => run(programs.up(options), call),
    down: (options, call) => run(programs.down(options), call),
    destroy: (options, call) => run(programs.destroy(options), call),
    resume: (options, call) => run(programs.resume(options), call),
    switchProvider: (options, call) => run(programs.switchProvider(options), call),
    planSwitch: (options, call) => run(programs.planSwitch(options), call),
    checkpoint: (options, call) => run(programs.checkpoint(options), call),
    checkpoints: (options, call) => run(programs.checkpoints(options), call),
    verifyCheckpoint: (options, call) => run(programs.verifyCheckpoint(options), call),
    removeCheckpoint: (options, call) => run(programs.removeCheckpoint(options), call),
    restore: (options, call) => run(programs.restore(options), call),
    exportSession: (options, call) => run(programs.exportSession(options), call),
    complete: (options, call) => run(programs.complete(options), call),
    extend: (options, call) => run(programs.extend(options), call),
    list: (options, call) => run(programs.list(options), call),
    status: (options, call) => run(programs.status(options), call),
    watch,
    history: (options, call) => run(programs.history(options), call),
    gc: (options, call) => run(programs.gc(options), call),
    doctor: (options, call) => run(programs.doctor(options), call),
    exec: ({ stdin, ...request }, call = {}) =>
      running((input) => programs.exec({ ...request, ...input }), stdin, call),
    execDetached: (options, call) => run(programs.execDetached(options), call),
    shell: ({ stdin, ...request }, call = {}) =>
      running((input) => programs.shell({ ...request, ...input }), stdin, call),
    cp: ({ from, to }, call) => run(programs.cp({ from, to }), call),
    logs,
    env: (options, call) => run(programs.env(options), call),
    ports: (options, call) => run(programs.ports(options), call),
    open: (options, call) => run(programs.open(options), call),
    ownerOf: (options, call) => run(programs.ownerOf(options), call),
    authSync: (options, call) => run(programs.authSync(options), call),
    here: (options, call) => run(programs.here(options), call),
    close: () => runtime.dispose()
  }
}
