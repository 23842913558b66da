/**
 * Files of `NAME=value` lines, as `.env` files are written and as a session's own environment is kept.
 *
 * `parse(format(variables))` gives the same variables, byte for byte.
 */

/** Names that a shell takes for a variable. */
export const isName = (name: string): boolean => /^[A-Za-z_][A-Za-z0-9_]*$/.test(name)

const escapes: Readonly<Record<string, string>> = { n: "\n", r: "\r", t: "\t" }

const line = /^[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)[ \t]*=[ \t]*/
const doubleQuoted = /^"((?:[^"\\]|\\[\s\S])*)"/
const singleQuoted = /^'([^']*)'/

/**
 * Reads a file. Values in double quotes may span lines and know `\n`, `\r`, `\t`, `\"`, `\\`, `\$`; those in single quotes
 * may span lines and know nothing. `#` starts a comment, inside a bare value only after a space. Nothing is expanded, and
 * what is no assignment is skipped.
 */
export const parse = (text: string): Readonly<Record<string, string>> => {
  const variables: Record<string, string> = {}
  let rest = text
  while (rest !== "") {
    const head = line.exec(rest)
    if (head === null) {
      rest = afterLine(rest)
      continue
    }
    rest = rest.slice(head[0].length)
    const quoted = doubleQuoted.exec(rest)
    const literal = quoted === null ? singleQuoted.exec(rest) : null
    if (quoted !== null) variables[head[1]!] = quoted[1]!.replaceAll(/\\([\s\S])/g, (_, c: string) => escapes[c] ?? c)
    else if (literal !== null) variables[head[1]!] = literal[1]!
    else variables[head[1]!] = bare(rest)
    rest = afterLine(rest.slice((quoted ?? literal)?.[0].length ?? 0))
  }
  return variables
}

const afterLine = (text: string): string => {
  const end = text.indexOf("\n")
  return end < 0 ? "" : text.slice(end + 1)
}

const bare = (text: string): string => {
  const end = text.indexOf("\n")
  const value = end < 0 ? text : text.slice(0, end)
  return value
    .replace(/\r$/, "")
    .replace(/(^|[ \t])#.*$/, "")
    .trim()
}

/** One line per variable, sorted by name; a shell that sources it gets the same values. */
export const format = (variables: Readonly<Record<string, string>>): string =>
  Object.entries(variables)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, value]) => `${name}=${quote(value)}\n`)
    .join("")

/** In single quotes nothing means anything; a value with a single quote needs double ones and escapes, which a shell reads alike. */
const quote = (value: string): string => {
  if (/^[\w@%+:,./-]*$/.test(value)) return value
  if (!value.includes("'")) return `'${value}'`
  return `"${value.replaceAll(/[\\"$`]/g, "\\$&")}"`
}
