import { assert, it } from "@effect/vitest"
import { Option } from "effect"
import { words } from "../src/arguments.ts"

it("two dashes with no word before them leave the session out", () => {
  const cases: ReadonlyArray<readonly [argv: string, operands: string, session: string | undefined, command: string]> =
    [
      ["exec app -- git status", "app git status", "app", "git status"],
      ["exec -- git status", "git status", undefined, "git status"],
      ["exec --cwd src -- ls -- x", "ls -- x", undefined, "ls -- x"],
      ["exec app ls", "app ls", "app", "ls"],
      ["exec app", "app", "app", ""],
      ["exec app --", "app", "app", ""],
      ["exec", "", undefined, ""]
    ]
  const split = (text: string) => (text === "" ? [] : text.split(" "))
  for (const [argv, operands, session, command] of cases) {
    assert.deepStrictEqual(
      words(split(argv), split(operands)),
      { session: Option.fromNullishOr(session), command: split(command) },
      argv
    )
  }
})
