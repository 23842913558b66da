/**
 * The commands that the laws run in a box, for boxes that have a POSIX shell and for memory boxes.
 *
 * Arguments are passed beside the script and never inside it, so nothing has to be quoted.
 */

/** A command's words, as in `ExecRequest.argv`. */
export type Argv = readonly [string, ...ReadonlyArray<string>]

/** What the laws need to be able to run. A box without a shell brings its own. */
export interface Commands {
  /** Ends with this code. */
  readonly exit: (code: number) => Argv
  /** Writes a line to stdout. */
  readonly print: (line: string) => Argv
  /** Writes a line to stderr. */
  readonly complain: (line: string) => Argv
  /** Copies stdin to stdout. */
  readonly copy: Argv
  /** Writes the value of an environment variable and a newline. */
  readonly variable: (name: string) => Argv
  /** Writes the working directory and a newline. */
  readonly directory: Argv
  /** Does nothing for a while. */
  readonly sleep: (seconds: number) => Argv
  /** Copies stdin to a file. */
  readonly save: (path: string) => Argv
  /** Copies a file to stdout. */
  readonly load: (path: string) => Argv
  /** Writes a line `up`, then does nothing for a while; an interrupt from the keyboard ends it. */
  readonly wait: (seconds: number) => Argv
  /** Writes the size of its terminal as rows, a blank and columns, and again whenever that changes, without an end. */
  readonly sizes: Argv
  /** Ends as soon as what it leaves behind, in a process session of its own, has begun to make a file grow without an end. */
  readonly beat: (path: string) => Argv
  /** Writes the path of every socket of a container engine that can be seen, one a line. */
  readonly engineSockets: Argv
  /** Writes the command lines of every process that can be seen, one a line, words apart by blanks. */
  readonly processes: Argv
}

const sh = (script: string, ...args: ReadonlyArray<string>): Argv => ["sh", "-c", script, "sh", ...args]

const beat = `
set -- "$1" 'while :; do echo >>"$1"; sleep 0.05; done'
if command -v setsid >/dev/null 2>&1; then
  setsid sh -c "$2" sh "$1" </dev/null >/dev/null 2>&1 &
else
  set -m
  sh -c "$2" sh "$1" </dev/null >/dev/null 2>&1 &
fi
until [ -s "$1" ]; do sleep 0.05; done
`

const engineSockets = `
for socket in docker.sock podman/podman.sock containerd/containerd.sock crio/crio.sock buildkit/buildkitd.sock; do
  for directory in /run /var/run; do
    if [ -S "$directory/$socket" ]; then echo "$directory/$socket"; fi
  done
done
`

const processes = `
for process in /proc/[0-9]*; do
  { tr '\\000' ' ' <"$process/cmdline" && echo; } 2>/dev/null
done
exit 0
`

/** For every box that has `sh` and the usual tools. */
export const shell: Commands = {
  exit: (code) => sh(`exit "$1"`, String(code)),
  print: (line) => sh(`printf '%s\\n' "$1"`, line),
  complain: (line) => sh(`printf '%s\\n' "$1" >&2`, line),
  copy: sh("cat"),
  variable: (name) => sh(`printenv "$1"`, name),
  directory: sh("pwd"),
  // A child that holds the output open: a signal that does not reach it leaves the command without an end.
  sleep: (seconds) => sh(`sleep "$1" & wait`, String(seconds)),
  save: (path) => sh(`cat > "$1"`, path),
  load: (path) => sh(`cat "$1"`, path),
  wait: (seconds) => sh(`echo up; exec sleep "$1"`, String(seconds)),
  sizes: sh("trap 'stty size' WINCH; stty size; while :; do sleep 0.1; done"),
  beat: (path) => sh(beat, path),
  engineSockets: sh(engineSockets),
  processes: sh(processes)
}

/** For the boxes of `MemoryProvisioner`. */
export const memory: Commands = {
  exit: (code) => ["exit", String(code)],
  print: (line) => ["echo", line],
  complain: (line) => ["stderr", line],
  copy: ["cat"],
  variable: (name) => ["printenv", name],
  directory: ["pwd"],
  sleep: (seconds) => ["sleep", String(seconds)],
  save: (path) => ["tee", path],
  load: (path) => ["cat", path],
  wait: (seconds) => ["wait", String(seconds)],
  sizes: ["sizes"],
  beat: (path) => ["beat", path],
  // what a memory box can see is nothing: it has no host
  engineSockets: ["echo", ""],
  processes: ["echo", ""]
}
