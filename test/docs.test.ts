import { execFileSync } from "node:child_process"
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { dirname, join, relative, resolve } from "node:path"
import { assert, describe, it } from "vitest"

const root = resolve(import.meta.dirname, "..")
const read = (path: string) => readFileSync(join(root, path), "utf8")

const documents = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard", "*.md"], {
  cwd: root,
  encoding: "utf8"
})
  .trim()
  .split("\n")
  .filter((path) => existsSync(join(root, path)))

const withoutCode = (text: string) => text.replaceAll(/^```[\s\S]*?^```/gm, "").replaceAll(/`[^`\n]*`/g, "")

/** The anchors that GitHub makes of a document's headings. */
const anchors = (text: string) =>
  [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading = ""]) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\w\- ]/g, "")
      .replaceAll(" ", "-")
  )

describe("the documents", () => {
  it("has decision records that are numbered from 1 without a gap and have the four parts", () => {
    const records = readdirSync(join(root, "docs/adr")).sort()
    assert.isAbove(records.length, 0)
    assert.deepStrictEqual(
      records.map((name) => name.slice(0, 4)),
      records.map((_, index) => String(index + 1).padStart(4, "0"))
    )
    for (const [index, name] of records.entries()) {
      const text = read(join("docs/adr", name))
      assert.match(text, new RegExp(`^# ${index + 1}\\. \\S`), name)
      assert.deepStrictEqual(
        [...text.matchAll(/^## (.*)$/gm)].map(([, heading]) => heading),
        ["Context", "Decision", "Rejected", "Consequences"],
        name
      )
      assert.isBelow(text.split("\n").length, 60, `${name} is longer than a page`)
    }
  })

  it("shows the program of examples/quickstart in the README as it is", () => {
    assert.include(read("README.md"), `\`\`\`ts\n${read("examples/quickstart/main.ts")}\`\`\`\n`)
  })

  it("starts the README with two commands for a fresh machine", () => {
    const [, block = ""] = /^```sh\n([\s\S]*?)^```/m.exec(read("README.md")) ?? []
    assert.strictEqual(block.trimEnd().split("\n").length, 2)
    assert.match(block, /^npm ci && /)
    assert.match(block, /^npm test$/m)
  })

  it("links to files and headings that are there", () => {
    const broken = documents.flatMap((path) =>
      [...withoutCode(read(path)).matchAll(/\]\(([^)\s]+)\)/g)].flatMap(([, target = ""]) => {
        if (/^[a-z]+:/.test(target)) return []
        const [file = "", anchor] = target.split("#")
        const to = file === "" ? path : relative(root, resolve(root, dirname(path), file))
        if (!existsSync(join(root, to))) return [`${path} → ${target}`]
        return anchor === undefined || anchors(read(to)).includes(anchor) ? [] : [`${path} → ${target}`]
      })
    )
    assert.deepStrictEqual(broken, [])
  })

  it("links to every package's README from the first one, and every package has one", () => {
    for (const name of readdirSync(join(root, "packages"))) {
      assert.include(read("README.md"), `(packages/${name}/README.md)`)
      assert.isTrue(existsSync(join(root, "packages", name, "README.md")), name)
    }
  })
})
