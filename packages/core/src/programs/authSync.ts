/** `auth sync`: the credentials of chosen model providers, from a file of this host into a session. */

import { Config, Effect, FileSystem, Option, Path, Result, Stream } from "effect"
import * as Credentials from "../Credentials.ts"
import * as sessions from "../internal/sessions.ts"
import { usable } from "../internal/usable.ts"
import type { AuthSyncOptions } from "../Options.ts"
import { boxVariables } from "../Provisioner.ts"
import { Provisioners } from "../Provisioners.ts"
import type { AuthSyncResult } from "../Results.ts"
import * as SandboxError from "../SandboxError.ts"
import type { Session } from "../Session.ts"

/** Files that hold credentials are small. */
const maxBytes = 1024 * 1024

/**
 * Copies what was chosen and nothing else, as one file that only its owner can read from its first instant.
 *
 * The bytes travel on a command's standard input: they are in no argument, environment, record, event or message.
 */
export const authSync = Effect.fn("authSync")(function* (options: AuthSyncOptions) {
  if (options.only.length === 0) {
    return yield* invalid("no provider was chosen", "say whose credentials to copy: --only openai", "only")
  }
  const target = yield* checkTarget(options.to ?? `$${boxVariables.run}/auth/auth.json`)
  const session = yield* sessions.find(options.session)
  yield* usable(session)
  const source = options.from ?? (yield* defaultSource)
  const chosen = Credentials.select(yield* read(source), options.only)
  if (Result.isFailure(chosen)) {
    const { known, unknown } = chosen.failure
    return yield* invalid(
      `${source} has no credentials of ${names(unknown)}`,
      known.length === 0 ? "log in with your agent first" : `choose among those it has: ${names(known)}`,
      "only",
      { known }
    )
  }
  const dryRun = options.dryRun === true
  const path = dryRun ? null : yield* write(session, { target, source, text: Credentials.format(chosen.success) })
  const result: AuthSyncResult = {
    sessionId: session.id,
    name: session.name,
    providers: Object.keys(chosen.success),
    path,
    dryRun,
    warnings: []
  }
  return result
})

const checkTarget = Effect.fnUntraced(function* (target: string) {
  const rooted = ["/", "~/", `$${boxVariables.run}/`].some((start) => target.startsWith(start))
  const parts = target.split("/").slice(1)
  if (rooted && isPlain(target) && parts.every((part) => !["", ".", ".."].includes(part))) return target
  return yield* invalid(
    "the file to write is neither an absolute path in the box nor one below ~/",
    `leave --to out for $${boxVariables.run}/auth/auth.json, or give a path such as ~/.local/share/opencode/auth.json`,
    "to"
  )
})

/** Whoever wrote the file chose the names; what is no plain word is quoted. */
const names = (list: ReadonlyArray<string>): string =>
  list.map((name) => (/^[\w.@:/-]+$/.test(name) ? name : JSON.stringify(name))).join(", ")

/** A line that is no longer than a path can be. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const isPlain = (text: string): boolean => text.length <= 4096 && !/[\u0000-\u001f\u007f]/.test(text)

/** Where OpenCode keeps its credentials. */
const defaultSource = Effect.gen(function* () {
  const path = yield* Path.Path
  const variable = (name: string) => Effect.orDie(Effect.option(Config.NonEmptyString(name)))
  const data = Option.getOrElse(yield* variable("XDG_DATA_HOME"), () => "")
  const home = Option.getOrElse(yield* variable("HOME"), () => "/")
  return path.join(path.isAbsolute(data) ? data : path.join(home, ".local", "share"), "opencode", "auth.json")
})

const read = Effect.fnUntraced(function* (file: string) {
  const fs = yield* FileSystem.FileSystem
  const unreadable = invalid(
    `${file} is not there, or cannot be read`,
    "name the file with the credentials: --from <file>",
    "from"
  )
  const { size, type } = yield* Effect.catch(fs.stat(file), () => unreadable)
  const malformed = invalid(
    `${file} is no file of credentials: it must be a JSON object with an object for each provider`,
    "log in again with your agent, or name another file: --from <file>",
    "from"
  )
  if (type !== "File" || size > maxBytes) return yield* malformed
  const text = yield* Effect.catch(fs.readFileString(file), () => unreadable)
  return Credentials.parse(text) ?? (yield* malformed)
})

/** How the script below ends when it refuses. */
const refusals: Readonly<Record<number, readonly [message: string, nextStep: string]>> = {
  64: ["the file would be in the checkout, from where it could be committed", "choose a path outside of the checkout"],
  65: ["in the box there is something else than a file under that name", "choose another path"],
  66: ["the box has no place for it", "choose a path in the box with --to"],
  67: ["it is the very file that is read: this provider's boxes share the files of this host", "choose another path"]
}

/**
 * Arguments: the target, how many bytes come on standard input, the source where box and host share their files.
 *
 * Where the target leads is looked at before anything is made, and again once its directory is there.
 */
const script = `set -eu
umask 077
target=$1
case $target in
  '~/'*)
    [ -n "\${HOME:-}" ] || exit 66
    target=$HOME/\${target#'~/'} ;;
  '$${boxVariables.run}/'*)
    [ -n "\${${boxVariables.run}:-}" ] || exit 66
    target=$${boxVariables.run}/\${target#'$${boxVariables.run}/'} ;;
esac
case $target in /*) ;; *) exit 66 ;; esac
directory=\${target%/*}
name=\${target##*/}
outside() {
  [ -n "\${${boxVariables.workspace}:-}" ] && [ -d "$${boxVariables.workspace}" ] || return 0
  checkout=$(cd -P -- "$${boxVariables.workspace}" && pwd -P)
  case $1/ in "$checkout"/*) exit 64 ;; esac
}
there=\${directory:-/}
while [ ! -d "$there" ]; do
  there=\${there%/*}
  there=\${there:-/}
done
outside "$(cd -P -- "$there" && pwd -P)"
mkdir -p -- "$directory/"
cd -P -- "$directory/"
outside "$(pwd -P)"
[ ! -d "$name" ] || exit 65
if [ -n "$3" ] && [ "$name" -ef "$3" ]; then exit 67; fi
part=.$name.sandbox-$$
trap 'rm -f -- "$part"' EXIT
trap 'exit 1' HUP INT TERM
rm -f -- "$part"
set -C
cat > "$part"
[ "$(wc -c < "$part")" -eq "$2" ]
mv -f -- "$part" "$name"
printf %s "$target"
`

const write = Effect.fnUntraced(function* (
  session: Session,
  file: { readonly target: string; readonly source: string; readonly text: string }
) {
  const backend = yield* (yield* Provisioners).get(session.provider)
  const bytes = new TextEncoder().encode(file.text)
  const shared = backend.isolation === "none" ? (yield* Path.Path).resolve(file.source) : ""
  const running = yield* backend.exec(session.instance!, {
    argv: ["sh", "-c", script, "sh", file.target, String(bytes.length), shared],
    stdin: Stream.make(bytes)
  })
  // what it says on standard error is dropped: the box could say anything there, the credentials too
  const said = running.output.pipe(
    Stream.filter(({ fd }) => fd === 1),
    Stream.map((chunk) => chunk.bytes),
    Stream.decodeText,
    Stream.mkString
  )
  const written = yield* said
  const { code } = yield* running.exit
  if (code === 0) return isPlain(written) ? written : file.target
  const refused = refusals[code]
  if (refused !== undefined) return yield* invalid(`cannot write ${file.target}: ${refused[0]}`, refused[1], "to")
  return yield* SandboxError.make("ERR_EXEC_FAILED", {
    message: `the credentials could not be written to ${file.target} in ${session.name}: its shell ended with ${code}`,
    nextStep: "see that the path can be written to in the box, or choose another one with --to",
    sessionId: session.id,
    state: session.state
  })
}, Effect.scoped)

const invalid = (message: string, nextStep: string, field: string, more: Readonly<Record<string, unknown>> = {}) =>
  SandboxError.make("ERR_INVALID_ARGUMENT", { message, nextStep, details: { field, ...more } })
