/** The checkpoint store in a directory. */
const store = "packages/core/src/node/FileCheckpointStore"
const tests = { project: "core", file: "packages/core/test/FileCheckpointStore.test.ts" }

export const breaks = [
  {
    invariant: "71",
    why: "a small object is given out as it was read",
    file: `${store}/objects.ts`,
    edits: [['bytes === "damaged" || hash("sha256", bytes, "hex") !== digest', 'bytes === "damaged"']],
    tests,
    only: "I-71 a small object"
  },
  {
    invariant: "71",
    why: "a large object ends as if it were what was stored",
    file: `${store}/objects.ts`,
    edits: [['if (seen.digest("hex") !== digest) throw', "if (false) throw"]],
    tests,
    only: "I-71 a large object"
  }
]
