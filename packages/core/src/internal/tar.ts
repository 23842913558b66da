/** The system's `tar` on this host, GNU's or BSD's: packing what is here, and unpacking into a directory of its own. */
import { Deferred, Effect, Stream } from "effect"
import { ChildProcess, ChildProcessSpawner } from "effect/process"
import * as SandboxError from "../SandboxError.ts"

const unclean = (said: string, what: string) =>
  SandboxError.make("ERR_EXEC_FAILED", {
    message: `${what}: ${said.trim().split("\n").at(-1) || "tar failed and did not say why"}`,
    nextStep: "put that right and copy again; nothing was left half-written on this host",
    details: { operation: "tar" }
  })

const missing = () =>
  SandboxError.make("ERR_EXEC_FAILED", {
    message: "there is no tar on this host's PATH",
    nextStep: "install tar and copy again",
    retryable: false,
    details: { operation: "tar" }
  })

const start = Effect.fnUntraced(function* (args: ReadonlyArray<string>, stdin: "ignore" | Stream.Stream<Uint8Array>) {
  const spawner = yield* ChildProcessSpawner.ChildProcessSpawner
  const command = ChildProcess.make("tar", args, {
    cwd: "/",
    // neither options of the user's own nor files beside the files, as macOS adds them, and words that can be read
    env: { TAR_OPTIONS: undefined, COPYFILE_DISABLE: "1", LANGUAGE: "en" },
    extendEnv: true,
    stdin,
    forceKillAfter: "2 seconds"
  })
  return yield* Effect.mapError(spawner.spawn(command), missing)
})

/** The last of what a command says; the rest is read and dropped, so that it never waits for us. */
const tail = <E, R>(stream: Stream.Stream<Uint8Array, E, R>) =>
  Stream.runFold(
    Stream.decodeText(stream),
    () => "",
    (said, text) => (said + text).slice(-4096)
  ).pipe(Effect.orElseSucceed(() => ""))

/** What GNU's and BSD's say of a socket, which no archive can hold. */
const isSocket = (line: string): boolean => /: (socket ignored|.*cannot archive sockets?)$/.test(line)

const said = <E, R>(stderr: Stream.Stream<Uint8Array, E, R>, counts: { special: number }) =>
  tail(
    Stream.tap(Stream.splitLines(Stream.decodeText(stderr)), (line) =>
      Effect.sync(() => {
        if (isSocket(line)) counts.special += 1
      })
    ).pipe(Stream.map((line) => new TextEncoder().encode(`${line}\n`)))
  )

const isBsd = Effect.gen(function* () {
  const { stdout } = yield* start(["--version"], "ignore")
  return (yield* Effect.orElseSucceed(Stream.mkString(Stream.decodeText(stdout)), () => "")).startsWith("bsdtar")
}).pipe(Effect.scoped)

/**
 * What stands in a directory under a name, `.` for all of it. Fails after all was read when something could not be.
 * Sockets are left out, and counted.
 */
export const pack = (
  directory: string,
  name: string,
  counts: { special: number }
): Stream.Stream<Uint8Array, SandboxError.SandboxError, ChildProcessSpawner.ChildProcessSpawner> =>
  Stream.unwrap(
    Effect.gen(function* () {
      // what BSD's writes by itself leaves the holes of a file out, which only few can read
      const format = (yield* isBsd) ? ["--format", "gnutar"] : []
      // `./` keeps a name from being read as an option, or as BSD's word for another archive
      const handle = yield* start(
        ["-c", ...format, "-f", "-", "-C", directory, name === "." ? name : `./${name}`],
        "ignore"
      )
      const words = yield* Deferred.make<string>()
      yield* Effect.forkScoped(Effect.flatMap(said(handle.stderr, counts), (text) => Deferred.succeed(words, text)))
      const ended = Effect.gen(function* () {
        const code = yield* Effect.orElseSucceed(handle.exitCode, () => -1)
        const last = yield* Deferred.await(words)
        if (Number(code) !== 0) return yield* unclean(last, "not all could be read")
      })
      return Stream.concat(Stream.orDie(handle.stdout), Stream.fromEffectDrain(ended))
    })
  )

/** Unpacks into a directory, for the user who runs this. */
export const unpack = Effect.fnUntraced(function* (directory: string, archive: Stream.Stream<Uint8Array>) {
  const handle = yield* start(["-x", "-p", "-o", "-f", "-", "-C", directory], archive)
  const [said, code] = yield* Effect.all(
    [
      tail(handle.stderr),
      Effect.orElseSucceed(handle.exitCode, () => -1),
      Stream.runDrain(Stream.orDie(handle.stdout))
    ],
    { concurrency: "unbounded" }
  )
  if (Number(code) !== 0) return yield* unclean(said, "the copy could not be written")
}, Effect.scoped)

/** Gives an archive to something that cannot take its failure: the failure ends both. */
export const feed = Effect.fnUntraced(function* <E, R, A, E2, R2>(
  archive: Stream.Stream<Uint8Array, E, R>,
  use: (archive: Stream.Stream<Uint8Array>) => Effect.Effect<A, E2, R2>
) {
  const failed = yield* Deferred.make<never, E>()
  const context = yield* Effect.context<R>()
  const whole = Stream.provideContext(archive, context).pipe(
    Stream.catch((error) => Stream.fromEffectDrain(Effect.andThen(Deferred.fail(failed, error), Effect.never)))
  )
  return yield* Effect.raceFirst(Deferred.await(failed), use(whole))
})
