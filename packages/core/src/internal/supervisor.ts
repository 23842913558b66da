/**
 * Commands that outlive whoever started them: services, and what `exec --detach` starts.
 *
 * One small POSIX shell script watches each. It is started through the provider's `exec` and leaves that behind: a process
 * session of its own, nothing open towards the caller. What it knows is in `$SANDBOX_RUN_DIR/services/<name>/`:
 *
 * - `pid`: the watcher's process id and the token that tells it from a later process of that number
 * - `exit`: how the command ended, as exit code and time in seconds; absent while it runs
 * - `log`: what the command wrote, both descriptors; `log.1` is what was before the last rotation
 * - `index`: lines of `<seconds since the epoch> <size of the log then>`, two seconds apart while it grows
 *
 * Nothing is restarted by itself.
 */
import { Effect } from "effect"
import { boxMarker } from "../Processes.ts"
import type { Backend } from "../Provisioners.ts"
import * as SandboxError from "../SandboxError.ts"
import type { InstanceRef } from "../Session.ts"
import * as inBox from "./inBox.ts"

/** The environment variable by which the processes of one service are known. */
export const serviceMarker = "SANDBOX_SERVICE"

/** A command to watch. */
export interface Command {
  /** Unique in the box: letters, digits, hyphens and underscores. */
  readonly name: string
  readonly argv: ReadonlyArray<string>
  /** Below the checkout, which it is when absent. */
  readonly cwd?: string | undefined
  readonly env: Readonly<Record<string, string>>
}

/** What became of a command. */
export type Status =
  | { readonly _tag: "running"; readonly pid: number }
  | { readonly _tag: "exited"; readonly code: number }
  /** Its watcher is gone without a word of how it ended; what it watched may be running. */
  | { readonly _tag: "lost" }
  /** Never started in this box. */
  | { readonly _tag: "new" }

/** A log that has grown beyond this many bytes is rotated the next time somebody looks. */
const logLimit = 10 * 1024 * 1024

/** How long a watched command may take to end politely, in tenths of a second. */
const grace = 20

/** Shell functions that the scripts share. `token` tells a process from a later one with the same number. */
export const common = `
token() {
  if [ -r "/proc/$1/stat" ]; then
    read -r stat <"/proc/$1/stat" || return 1
    set -- \${stat##*) }
    [ "$1" = Z ] || echo "\${20}"
  else
    ps -o lstart= -p "$1" 2>/dev/null | tr -s ' ' '_'
  fi
}
alive() {
  pid= start=
  [ -f "$1/pid" ] && read -r pid start <"$1/pid" && [ -n "$start" ] && [ "$(token "$pid")" = "$start" ]
}
`

/** `$1` is the directory, the rest the command. It lives as long as the command does, whatever it is sent. */
const watch = `${common}
dir=$1
shift
trap : TERM INT HUP
umask_before=$(umask)
umask 077
start=$(token $$)
echo "$$ $start" >"$dir/.pid.$$"
if ! ln "$dir/.pid.$$" "$dir/pid" 2>/dev/null; then
  alive "$dir" && { rm -f "$dir/.pid.$$"; exit 0; }
  mv -f "$dir/.pid.$$" "$dir/pid"
fi
rm -f "$dir/.pid.$$" "$dir/exit"
: >>"$dir/log"
echo "$(date +%s) $(wc -c <"$dir/log" | tr -d ' ')" >>"$dir/index"
(
  trap - TERM INT HUP
  last=
  while kill -0 $$ 2>/dev/null && sleep 2; do
    size=$(wc -c <"$dir/log" | tr -d ' ')
    [ "$size" = "$last" ] || echo "$(date +%s) $size" >>"$dir/index"
    last=$size
  done
) </dev/null >/dev/null 2>&1 &
index=$!
umask "$umask_before"
"$@" </dev/null >>"$dir/log" 2>&1
code=$?
umask 077
kill "$index" 2>/dev/null
echo "$code $(date +%s)" >"$dir/.exit.$$"
mv -f "$dir/.exit.$$" "$dir/exit"
`

/** A shell function that rotates the log in a directory when it has grown too large. */
export const rotate = `
rotate() {
  [ -f "$1/log" ] && [ "$(wc -c <"$1/log")" -gt ${logLimit} ] || return 0
  cp "$1/log" "$1/log.1" && : >"$1/log"
  mv -f "$1/index" "$1/index.1" 2>/dev/null
  return 0
}
`

/** `$1` is the watcher's script, `$2` the name, the rest the command. Ends as soon as the watcher is on record. */
const launch = `${common}${rotate}
watch=$1
name=$2
shift 2
dir=$SANDBOX_RUN_DIR/services/$name
( umask 077; mkdir -p "$dir" ) || exit 1
alive "$dir" && exit 0
rotate "$dir"
rm -f "$dir/exit"
if command -v setsid >/dev/null 2>&1; then
  setsid sh -c "$watch" watch "$dir" "$@" </dev/null >/dev/null 2>&1 &
else
  set -m
  sh -c "$watch" watch "$dir" "$@" </dev/null >/dev/null 2>&1 &
fi
tries=0
until [ -f "$dir/exit" ] || alive "$dir"; do
  tries=$((tries + 1))
  [ "$tries" -lt 200 ] || { echo "its watcher did not come up" >&2; exit 1; }
  sleep 0.05
done
`

/** A line `<name> running <pid>`, `<name> exited <code>`, `<name> lost` or `<name> new` for each argument. */
const look = `${common}
for name; do
  dir=$SANDBOX_RUN_DIR/services/$name
  if alive "$dir"; then echo "$name running $pid"
  elif [ -f "$dir/exit" ]; then read -r code _ <"$dir/exit"; echo "$name exited $code"
  elif [ -d "$dir" ]; then echo "$name lost"
  else echo "$name new"; fi
done
`

/** Names of everything that was ever started. */
const names = `
cd "$SANDBOX_RUN_DIR/services" 2>/dev/null || exit 0
for name in *; do [ -d "$name" ] && echo "$name"; done
`

/**
 * `$1` is the name, `$2` and `$3` what the processes of the box and of the service carry. First the watcher's process
 * group, then whatever has left it; nothing that cannot be proven the service's.
 */
const end = `${common}
dir=$SANDBOX_RUN_DIR/services/$1
left() {
  for file in $(grep -lsF -e "$2" /proc/[0-9]*/environ); do
    entry=\${file#/proc/}
    tr '\\000' '\\n' <"$file" 2>/dev/null | grep -qxF -e "$1" || continue
    tr '\\000' '\\n' <"$file" 2>/dev/null | grep -qxF -e "$2" && echo "\${entry%/environ}"
  done
}
signal() {
  alive "$dir" && kill "-$1" -- "-$pid" 2>/dev/null
  for process in $(left "$2" "$3"); do kill "-$1" "$process" 2>/dev/null; done
}
signal TERM "$2" "$3"
tries=0
while alive "$dir" || [ -n "$(left "$2" "$3")" ]; do
  tries=$((tries + 1))
  [ "$tries" -lt ${grace} ] || signal KILL "$2" "$3"
  [ "$tries" -lt ${grace + 50} ] || { echo "it does not end" >&2; exit 1; }
  sleep 0.1
done
`

const lastLines = `tail -n "$2" "$SANDBOX_RUN_DIR/services/$1/log" 2>/dev/null; exit 0`

/** Starts a command, unless the one of that name is running. What an earlier one wrote stays in the log. */
export const start = Effect.fnUntraced(function* (backend: Backend, ref: InstanceRef, command: Command) {
  const { argv, cwd, env, name } = command
  yield* inBox
    .mustRun(backend, ref, `starting ${name}`, {
      script: launch,
      args: [watch, name, ...argv],
      cwd,
      env: { ...env, [serviceMarker]: name }
    })
    .pipe(
      Effect.catchIf(
        (error) => error.details?.["reason"] === "Invalid",
        (error) =>
          SandboxError.make("ERR_SERVICE_FAILED", {
            message: `${name} cannot be started: ${error.message}`,
            nextStep: "correct its `cwd`",
            details: { service: name, field: "cwd" }
          })
      )
    )
})

/** What became of the commands of these names. */
export const status = Effect.fnUntraced(function* (backend: Backend, ref: InstanceRef, wanted: ReadonlyArray<string>) {
  const found = new Map<string, Status>(wanted.map((name) => [name, { _tag: "new" }]))
  if (wanted.length === 0) return found
  const text = yield* inBox.mustRun(backend, ref, "looking at services", { script: look, args: wanted })
  for (const line of text.split("\n")) {
    const [name = "", tag, value] = line.split(" ")
    if (tag === "running") found.set(name, { _tag: "running", pid: Number(value) })
    if (tag === "lost") found.set(name, { _tag: "lost" })
    if (tag === "exited") found.set(name, { _tag: "exited", code: Number(value) })
  }
  return found
})

/** The names of everything that was started in the box since it was made. */
export const known = Effect.fnUntraced(function* (backend: Backend, ref: InstanceRef) {
  const text = yield* inBox.mustRun(backend, ref, "looking for services", { script: names })
  return text.split("\n").filter((name) => name !== "")
})

/** Ends a command with everything that it started, first politely. */
export const stop = Effect.fnUntraced(function* (backend: Backend, ref: InstanceRef, name: string) {
  yield* inBox.mustRun(backend, ref, `stopping ${name}`, {
    script: end,
    args: [name, `${boxMarker}=${ref.key}`, `${serviceMarker}=${name}`]
  })
})

/** Ends whatever carries an entry `NAME=value` in its environment, beside the mark of the box. */
export const endMarked = Effect.fnUntraced(function* (backend: Backend, ref: InstanceRef, entry: string) {
  yield* inBox.mustRun(backend, ref, "ending what was left", {
    script: end,
    args: [".", `${boxMarker}=${ref.key}`, entry]
  })
})

/** The end of what a command wrote. */
export const tail = Effect.fnUntraced(function* (
  backend: Backend,
  ref: InstanceRef,
  options: { readonly name: string; readonly lines: number }
) {
  const { stdout } = yield* inBox.script(backend, ref, {
    script: lastLines,
    args: [options.name, String(options.lines)]
  })
  return stdout.trimEnd()
})
