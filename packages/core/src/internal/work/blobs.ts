/** Contents of git objects as they are stored, without filters or conversions. */
import { Effect, Stream } from "effect"
import * as Git from "../../Git.ts"
import * as SandboxError from "../../SandboxError.ts"
import { type Checkout, stream } from "./checkout.ts"

/** What is done with an object, piece by piece. */
export interface Receiver<E, R> {
  readonly begin: (at: number, size: number) => Effect.Effect<void, E, R>
  readonly write: (bytes: Uint8Array) => Effect.Effect<void, E, R>
  readonly end: Effect.Effect<void, E, R>
}

/** Reads objects in the order asked for, by one process and in bounded memory. Fails when one of them is not there. */
export const read = Effect.fnUntraced(function* <E, R>(
  checkout: Checkout,
  oids: ReadonlyArray<string>,
  { begin, end, write }: Receiver<E, R>
) {
  if (oids.length === 0) return
  let at = -1
  /** Of the content; -1 while its header is read, 0 while the line break after it is. */
  let left = -1
  let header = ""
  const consume = Effect.fnUntraced(function* (chunk: Uint8Array) {
    for (let from = 0; from < chunk.length; ) {
      if (left > 0) {
        const part = chunk.subarray(from, from + left)
        from += part.length
        left -= part.length
        yield* write(part)
      } else if (left === 0) {
        from += 1
        left = -1
        yield* end
      } else {
        const stop = chunk.indexOf(10, from)
        const part = chunk.subarray(from, stop === -1 ? chunk.length : stop)
        header += new TextDecoder().decode(part)
        from += part.length + (stop === -1 ? 0 : 1)
        if (stop === -1) continue
        const [, kind, size] = header.split(" ")
        at += 1
        if (size === undefined || kind === "missing") return yield* missing(oids[at] ?? "")
        header = ""
        left = Number(size)
        yield* begin(at, left)
      }
    }
  })
  yield* Stream.runForEach(stream(checkout, ["cat-file", "--batch"], { lines: oids }), consume)
  if (at !== oids.length - 1 || left !== -1) return yield* missing(oids[at + 1] ?? "")
})

const missing = (oid: string) =>
  new Git.GitError({
    reason: "failed",
    command: "cat-file",
    code: null,
    stderr: "",
    message: `the repository does not have object ${oid}`
  })

/** Small objects as text, by name. */
export const blobs = Effect.fnUntraced(function* (checkout: Checkout, oids: ReadonlyArray<string>) {
  const wanted = [...new Set(oids)]
  const found = new Map<string, string>()
  const decoder = new TextDecoder()
  let current = ""
  let said = ""
  yield* read(checkout, wanted, {
    begin: (at) =>
      Effect.sync(() => {
        current = wanted[at] ?? ""
        said = ""
      }),
    write: (bytes) =>
      Effect.sync(() => {
        said += decoder.decode(bytes, { stream: true })
      }),
    end: Effect.sync(() => found.set(current, said + decoder.decode()))
  })
  return found
})

/** The types of objects by what was asked for; what is not there, or is not unique, has none. */
export const types = Effect.fnUntraced(function* (checkout: Checkout, asked: ReadonlyArray<string>) {
  const wanted = [...new Set(asked)]
  const found = new Map<string, { readonly oid: string; readonly type: string }>()
  if (wanted.length === 0) return found
  const decoder = new TextDecoder()
  const chunks = yield* Stream.runCollect(stream(checkout, ["cat-file", "--batch-check"], { lines: wanted }))
  const rows = chunks
    .map((chunk) => decoder.decode(chunk, { stream: true }))
    .join("")
    .split("\n")
  wanted.forEach((name, at) => {
    const [oid = "", type = "", size] = (rows[at] ?? "").split(" ")
    if (size !== undefined && /^\d+$/.test(size)) found.set(name, { oid, type })
  })
  return found
})

/** The error of a failure that has no better name. */
export const failed =
  (code: "ERR_CHECKPOINT_FAILED" | "ERR_WORKSPACE_FAILED", what: string) =>
  (error: { readonly message: string }): SandboxError.SandboxError =>
    SandboxError.isSandboxError(error)
      ? error
      : SandboxError.make(code, {
          message: `${what}: ${error.message}`,
          nextStep: "put that right, and run the command again"
        })
