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
}

const sh = (script: string, ...args: ReadonlyArray<string>): Argv => ["sh", "-c", script, "sh", ...args]

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
  load: (path) => sh(`cat "$1"`, path)
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
  load: (path) => ["cat", path]
}
