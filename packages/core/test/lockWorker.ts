/** Enters one lock again and again: `lockWorker.ts <lock> <folder> <times>`. Says in `violations` who it met inside. */
import { appendFileSync, existsSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import * as RepositoryLock from "@org/sandbox-core/RepositoryLock"
import { Effect, Random } from "effect"
import { alive, layer } from "./git.ts"

const [lock = "", folder = "", times = "1"] = process.argv.slice(2)
const inside = `${folder}/inside`
const violation = (text: string) => appendFileSync(`${folder}/violations`, `${text}\n`)

const enter = Effect.gen(function* () {
  // A pid that is still in the file is a killed holder's, or a second holder.
  const before = existsSync(inside) ? Number(readFileSync(inside, "utf8")) : 0
  writeFileSync(inside, String(process.pid))
  if (before !== 0 && alive(before)) violation(`${process.pid} met ${before}`)
  yield* Effect.sleep(yield* Random.nextIntBetween(0, 10))
  if (readFileSync(inside, "utf8") !== String(process.pid)) violation(`${process.pid} was joined`)
  rmSync(inside)
  appendFileSync(`${folder}/entered`, ".")
})

await enter.pipe(
  RepositoryLock.withLock(lock),
  Effect.repeat({ times: Number(times) - 1 }),
  Effect.provide(layer),
  Effect.runPromise
)
