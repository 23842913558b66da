/** Taking bodies away, and the bytes that only they had. */
import { lstatSync, readdirSync, rmSync, statSync, unlinkSync } from "node:fs"
import { join } from "node:path"
import { Effect } from "effect"
import { attempting, ifPresent } from "./disk.ts"
import { isDigest, type Layout, objectOf, objectsOf, pooledOf } from "./layout.ts"

/**
 * Removes a body and answers how many bytes nobody has any more; one that is not there is success.
 *
 * A pool's link that is the last one goes too. Whoever links to it at that very moment has the bytes, and the pool has
 * forgotten them: that costs space, and nothing else.
 */
export const removeBody = Effect.fnUntraced(function* (at: Layout, name: string) {
  const { now } = attempting(at.directory)
  const body = join(at.bodies, name)
  const files = yield* now(() => ifPresent(() => readdirSync(objectsOf(body))) ?? [])
  const bytes = yield* Effect.forEach(files, (file) => now(() => removeObject(at, body, file)))
  yield* now(() => rmSync(body, { recursive: true, force: true }))
  return bytes.reduce((sum, freed) => sum + freed, 0)
})

const removeObject = (at: Layout, body: string, file: string): number => {
  const path = objectOf(body, file)
  const stat = ifPresent(() => lstatSync(path))
  if (stat === undefined) return 0
  ifPresent(() => unlinkSync(path))
  if (stat.nlink === 1) return stat.size
  return isDigest(file) ? dropLast(pooledOf(at, file)) : 0
}

/** Removes a pool's link when nothing else has the object, and answers the bytes. */
export const dropLast = (pooled: string): number => {
  const stat = ifPresent(() => lstatSync(pooled))
  if (stat === undefined || stat.nlink !== 1) return 0
  ifPresent(() => unlinkSync(pooled))
  return stat.size
}

/** When something was last added, in milliseconds of the epoch; none when it is not there. */
export const lastTouched = (at: Layout, name: string): number | undefined => {
  const body = join(at.bodies, name)
  const times = [body, objectsOf(body)].flatMap((path) => ifPresent(() => statSync(path).mtimeMs) ?? [])
  return times.length === 0 ? undefined : Math.max(...times)
}
