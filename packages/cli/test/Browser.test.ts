import { assert, it } from "@effect/vitest"
import { argv } from "../src/Browser.ts"

it("an address is one word of a browser's command, whatever is in it", () => {
  const url = "http://127.0.0.1:3000/?a=$&b='x y'"
  assert.deepStrictEqual(argv(["firefox", "--new-tab"], url), ["firefox", "--new-tab", url])
  assert.deepStrictEqual(argv(["w3m", "--at=%s", "-q"], url), ["w3m", `--at=${url}`, "-q"])
})
