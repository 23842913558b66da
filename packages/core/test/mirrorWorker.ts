/** Prints the mirror of a commit: `mirrorWorker.ts <base folder> <url> <commit>`. */
import { Directories } from "@org/sandbox-core/Host"
import * as Mirror from "@org/sandbox-core/Mirror"
import { Effect } from "effect"
import { directories, layer } from "./git.ts"

const [base = "", url = "", commit = ""] = process.argv.slice(2)

console.log(
  await Mirror.ensure(url, commit).pipe(
    Effect.provideService(Directories, directories(base)),
    Effect.provide(layer),
    Effect.runPromise
  )
)
