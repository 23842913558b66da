/**
 * What a `.dockerignore` leaves out of a build's context.
 *
 * As the engine's own builders read it: https://docs.docker.com/build/concepts/context/#dockerignore-files
 */
import { Option } from "effect"

export interface Ignored {
  /** Whether a path of the context is left out: relative, with slashes between its parts. */
  readonly leavesOut: (path: string) => boolean
  /** Whether an exception may take something in of a directory that is left out. */
  readonly mayTakeFrom: (directory: string) => boolean
}

interface Rule {
  readonly pattern: string
  readonly isException: boolean
  /** Matches what the pattern does, and whatever is below that. */
  readonly matches: RegExp
}

/** What a file of this text leaves out, or the first pattern of it that is none. */
export const parse = (text: string): Ignored | { readonly unusable: string } => {
  const rules: Array<Rule> = []
  for (const line of text.replace(/^\ufeff/, "").split("\n")) {
    const given = line.trim()
    if (line.startsWith("#") || given === "") continue
    const isException = given.startsWith("!")
    const pattern = cleaned(isException ? given.slice(1).trim() : given)
    const matches = expression(pattern)
    if (Option.isNone(matches) || given === "!") return { unusable: given }
    rules.push({ pattern, isException, matches: matches.value })
  }
  const exceptions = rules.filter(({ isException }) => isException).map(({ pattern }) => fixed(pattern))
  return {
    // the last one that says something about a path counts
    leavesOut: (path) => rules.findLast(({ matches }) => matches.test(path))?.isException === false,
    mayTakeFrom: (directory) =>
      exceptions.some((start) => start === undefined || `${start}/`.startsWith(`${directory}/`))
  }
}

/** Without empty parts and `.`, each `..` resolved, and relative to the top, where all patterns begin. */
const cleaned = (pattern: string): string => {
  const parts: Array<string> = []
  for (const part of pattern.split("/")) {
    const above = part === ".." && (pattern.startsWith("/") || (parts.length > 0 && parts.at(-1) !== ".."))
    if (above) parts.pop()
    else if (part !== "" && part !== ".") parts.push(part)
  }
  return parts.join("/")
}

/** Where all that a pattern matches is, when one place can be told. */
const fixed = (pattern: string): string | undefined => {
  const start = pattern.replace(/\/\*\*?$/, "")
  return /[*?[\\]/.test(start) ? undefined : start
}

const tokens = /\*\*\/?|\[\^?(?:\\.|[^\\\]])+\]|\\.|./gsu

const expression = (pattern: string): Option.Option<RegExp> => {
  // the context itself is always there
  if (pattern === "") return Option.some(/(?!)/)
  const source = pattern.replaceAll(tokens, (token, at: number) => {
    if (token.startsWith("**")) return at + token.length === pattern.length ? ".*" : "(?:.*/)?"
    if (token === "*") return "[^/]*"
    if (token === "?") return "[^/]"
    // one that opens nothing makes no expression
    if (token.startsWith("[")) return token
    return (token.length > 1 ? token.slice(1) : token).replace(/[\^$\\.*+?()[\]{}|/]/, "\\$&")
  })
  return Option.liftThrowable((source: string) => new RegExp(`^${source}(?:/.*)?$`, "us"))(source)
}
