/** What a `.dockerignore` leaves out, by the rules and examples of Docker's own documentation and tests. */
import * as DockerIgnore from "@org/sandbox-provider-docker/DockerIgnore"
import { assert, describe, it } from "vitest"

const parsed = (...lines: ReadonlyArray<string>) => {
  const ignored = DockerIgnore.parse(lines.join("\n"))
  if ("unusable" in ignored) throw new Error(`unusable: ${ignored.unusable}`)
  return ignored
}

/** Paths that one pattern leaves out, and paths that it does not. */
const table: ReadonlyArray<readonly [string, out: ReadonlyArray<string>, stays: ReadonlyArray<string>]> = [
  ["file", ["file", "file/below", "file/b/elow"], ["other", "files", "a/file"]],
  ["/file", ["file"], ["a/file"]],
  ["dir/", ["dir", "dir/file"], ["dirs", "a/dir"]],
  ["./a//b/../c", ["a/c", "a/c/d"], ["a/b", "a"]],
  ["../file", [], ["file"]],
  ["/../file", ["file"], []],
  ["*", ["a", "a/b", ".hidden"], []],
  ["*.log", ["a.log", ".log", "x.log/below"], ["a/b.log", "a.logs", "alog"]],
  ["*/*.log", ["a/b.log"], ["b.log", "a/b/c.log"]],
  ["?.txt", ["a.txt", "é.txt", "😀.txt"], [".txt", "ab.txt", "/.txt"]],
  ["a*c", ["ac", "abc"], ["a/c", "abcd"]],
  ["**", ["a", "a/b/c"], []],
  ["**/file", ["file", "a/file", "a/b/file", "a/file/below"], ["afile", "a/files"]],
  ["**/*.go", ["a.go", "a/b.go", "a/b/c.go"], ["ago", "a/b.gox"]],
  ["dir/**", ["dir/a", "dir/a/b"], ["dir", "dirs/a"]],
  ["a/**/z", ["a/z", "a/b/z", "a/b/c/z"], ["z", "az", "a/zz"]],
  ["**/dir/**", ["dir/a", "x/dir/a"], ["dir", "x/dir"]],
  ["a**b", ["ab", "ax/b"], ["a", "b", "axb"]],
  ["[ab]*", ["a", "bc"], ["cab", "x"]],
  ["[^ab]*", ["c"], ["a", "bc"]],
  ["[a-c].md", ["b.md"], ["d.md"]],
  ["\\*", ["*"], ["a"]],
  ["\\[a]", ["[a]"], ["a"]],
  ["a\\b", ["ab"], ["a\\b"]],
  ["a.b+(c)|{d}$^", ["a.b+(c)|{d}$^"], ["aXb+(c)|{d}$^"]],
  ["odd\tname", ["odd\tname"], ["odd name"]],
  [".", [], ["a", ".a"]],
  ["name", [], ["name\nwith", "a\nname"]],
  ["*x", ["a\nx"], []]
]

describe("a pattern of a .dockerignore", () => {
  for (const [pattern, out, stays] of table) {
    it(`${JSON.stringify(pattern)} leaves out what it matches, and what is below that`, () => {
      const { leavesOut } = parsed(pattern)
      for (const path of out) assert.isTrue(leavesOut(path), path)
      for (const path of stays) assert.isFalse(leavesOut(path), path)
    })
  }

  it("that makes no sense is told", () => {
    for (const unusable of ["[a", "!", "[z-a]", "a[", "![b"]) {
      assert.deepStrictEqual(DockerIgnore.parse(`fine\n${unusable}\n`), { unusable })
    }
  })
})

describe("a .dockerignore", () => {
  it("has comments, empty lines and blanks around patterns, and may come from Windows", () => {
    const { leavesOut } = parsed(
      "\ufeff# a comment",
      "",
      "  spaced  ",
      "windows\r",
      " #no-comment",
      "! kept",
      "*.md",
      "!kept.md"
    )
    for (const path of ["spaced", "windows", "#no-comment", "other.md"]) assert.isTrue(leavesOut(path), path)
    for (const path of ["# a comment", "kept", "kept.md", "a comment"]) assert.isFalse(leavesOut(path), path)
  })

  it("is read to its end: the last pattern that says something about a path counts", () => {
    const readme = parsed("*.md", "!README*.md", "README-secret.md")
    assert.isFalse(readme.leavesOut("README.md"))
    assert.isTrue(readme.leavesOut("README-secret.md"))
    const without = parsed("*.md", "README-secret.md", "!README*.md")
    assert.isFalse(without.leavesOut("README-secret.md"))
    assert.isFalse(parsed("dir", "!dir/file").leavesOut("dir/file"))
    assert.isFalse(parsed("dir", "!dir/sub").leavesOut("dir/sub/deep/file"))
    assert.isTrue(parsed("dir", "!dir/sub", "dir/sub/deep").leavesOut("dir/sub/deep/file"))
    assert.isFalse(parsed("*", "!src").leavesOut("src/a"))
  })

  it("tells in which directories that are left out an exception may be", () => {
    const plain = parsed("*", "!src/lib/**", "!docs/a.md")
    for (const path of ["src", "src/lib", "docs"]) assert.isTrue(plain.mayTakeFrom(path), path)
    for (const path of ["lib", "srcs", "docs/a", "node_modules"]) assert.isFalse(plain.mayTakeFrom(path), path)
    assert.isTrue(parsed("*", "!**/*.md").mayTakeFrom("any/where"))
    assert.isTrue(parsed("*", "!a*/b").mayTakeFrom("any"))
    assert.isFalse(parsed("*").mayTakeFrom("any"))
  })
})
