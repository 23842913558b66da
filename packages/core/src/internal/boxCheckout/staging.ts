/** Where checkouts of boxes are made and looked at on this host: directories of one operation, gone with its scope. */
import { Effect, FileSystem, Path } from "effect"
import { Directories } from "../../Host.ts"
import { refused, staging as within } from "../placing.ts"

/** Readable for nobody else, and empty. What killed processes left beside it is removed first. */
export const staging = Effect.gen(function* () {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const copies = path.join((yield* Directories).state, "copies")
  yield* Effect.mapError(fs.makeDirectory(copies, { recursive: true, mode: 0o700 }), (error) =>
    refused(`${copies} cannot be made`, error)
  )
  return yield* within(copies)
})
