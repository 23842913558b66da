import { assert, describe, it } from "@effect/vitest"
import * as terminalModes from "../src/terminalModes.ts"

const bytes = (text: string) => new TextEncoder().encode(text)

const after = (...parts: ReadonlyArray<string>): string => {
  const modes = terminalModes.make()
  for (const part of parts) modes.see(bytes(part))
  return modes.reset()
}

describe("terminalModes", () => {
  it("resets what was switched on and nothing else", () => {
    assert.strictEqual(after("plain \x1b[31mred\x1b[0m \x1b[2J\x1b[10;20H"), "")
    assert.strictEqual(after("\x1b[?1049h\x1b[?25l"), "\x1b[?1049l\x1b[?25h")
    assert.strictEqual(after("\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"), "")
    assert.strictEqual(after("\x1b[?1006;1000h"), "\x1b[?1006l\x1b[?1000l")
    assert.strictEqual(after("\x1b[?25h\x1b[?7h\x1b[?2004l\x1b[?31337h"), "")
  })

  it("knows the keypad and the protocols of keyboards", () => {
    assert.strictEqual(after("\x1b="), "\x1b>")
    assert.strictEqual(after("\x1b=", "\x1b>"), "")
    assert.strictEqual(after("\x1b[>4;2m"), "\x1b[>4m")
    assert.strictEqual(after("\x1b[>4;2m\x1b[>4m"), "")
    assert.strictEqual(after("\x1b[>1u"), "\x1b[<9u\x1b[=0u")
    assert.strictEqual(after("\x1b[?2004h\x1b[>1u\x1b="), `\x1b[<9u\x1b[=0u\x1b>\x1b[?2004l`)
  })

  it("forgets everything at a full reset", () => {
    assert.strictEqual(after("\x1b[?1049h\x1b=\x1b[?25l", "\x1bc"), "")
  })

  it("sees sequences that are cut anywhere, and in the middle of other text", () => {
    const text = "é日本\x1b[1m\x1b[?1049h~\x1b[?25l\xff\x1b[>4;2mx"
    for (let at = 0; at <= text.length; at++) {
      assert.strictEqual(after(text.slice(0, at), text.slice(at)), "\x1b[>4m\x1b[?1049l\x1b[?25h", `cut at ${at}`)
    }
    assert.strictEqual(after(...text), "\x1b[>4m\x1b[?1049l\x1b[?25h")
  })

  it("says whether something has changed, so that it is told once", () => {
    const modes = terminalModes.make()
    assert.isFalse(modes.see(bytes("text")))
    assert.isTrue(modes.see(bytes("\x1b[?1049h")))
    assert.isFalse(modes.see(bytes("\x1b[?1049h")))
    assert.isTrue(modes.see(bytes("\x1b[?1049l")))
    modes.see(bytes("\x1b[?25l"))
    modes.forget()
    assert.strictEqual(modes.reset(), "")
  })
})
