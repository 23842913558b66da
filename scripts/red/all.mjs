/** Every deliberate break, by area. */
import { readdirSync } from "node:fs"
import { join } from "node:path"
import { breaks as first } from "./breaks.mjs"

const folder = join(import.meta.dirname, "breaks")
const modules = await Promise.all(
  readdirSync(folder)
    .filter((file) => file.endsWith(".mjs"))
    .toSorted()
    .map((file) => import(join(folder, file)))
)

export const breaks = [...first, ...modules.flatMap((module) => module.breaks)]
