/** What the output of a command has switched on in the terminal, and how to switch it off again. */

export interface Modes {
  /** Reads output as it goes by; whether something has changed. */
  readonly see: (bytes: Uint8Array) => boolean
  /** What to print to have the terminal as it was; empty when it is. */
  readonly reset: () => string
  readonly forget: () => void
}

/** Cursor keys, mouse reports, focus reports, other screens, pasting in brackets: off unless somebody asks for them. */
const off = new Set([1, 5, 9, 47, 1000, 1001, 1002, 1003, 1004, 1005, 1006, 1015, 1016, 1047, 1049, 2004, 2026])
/** Wrapping at the margin, the cursor. */
const on = new Set([7, 25])

const escape = String.fromCharCode(27)
/** Private modes, the keypad, a full reset, keys as the kitty and xterm protocols report them. */
const sequence = new RegExp(
  `${escape}(?:\\[\\?([\\d;]+)([hl])|([=>c])|\\[([>=<])\\d*(?:;\\d*)*u|\\[>4(?:;(\\d*))?m)`,
  "g"
)
/** The start of one at the end of a chunk. */
const unfinished = new RegExp(`${escape}(?:\\[[?>=<]?[\\d;]{0,24})?$`)

export const make = (): Modes => {
  const changed = new Set<number>()
  const extras = new Map<string, string>()
  let rest = ""

  const apply = (found: RegExpMatchArray) => {
    const [, numbers, to, simple, keyboard, level] = found
    if (numbers !== undefined) {
      for (const mode of numbers.split(";").map(Number)) {
        if (!off.has(mode) && !on.has(mode)) continue
        if ((to === "h") === off.has(mode)) changed.add(mode)
        else changed.delete(mode)
      }
    } else if (simple === "=") extras.set("keypad", "\x1b>")
    else if (simple === ">") extras.delete("keypad")
    else if (simple === "c") forget()
    else if (keyboard !== undefined) extras.set("kitty", "\x1b[<9u\x1b[=0u")
    else if (level === undefined || level === "0") extras.delete("keys")
    else extras.set("keys", "\x1b[>4m")
  }

  const reset = () =>
    [...extras.values(), ...Array.from(changed, (mode) => `\x1b[?${mode}${off.has(mode) ? "l" : "h"}`)].join("")

  const forget = () => {
    changed.clear()
    extras.clear()
  }

  return {
    see: (bytes) => {
      if (rest === "" && !bytes.includes(27)) return false
      const before = reset()
      // of the text only what stands behind an escape is looked at, and that is ASCII
      const text = rest + new TextDecoder("latin1").decode(bytes)
      for (const found of text.matchAll(sequence)) apply(found)
      rest = unfinished.exec(text)?.[0] ?? ""
      return reset() !== before
    },
    reset,
    forget
  }
}
