/** Modules that a user names: a file, or a package. */
import { Option, type Path } from "effect"

/** Whether a name means a file, and not a package. */
export const isFile = (use: string): boolean => /^\.{0,2}\//.test(use) || /\.[cm]?[jt]s$/.test(use)

/** Loads a file, or a package as seen from a folder, and then from here. */
export const moduleOf = (path: Path.Path, use: string, folder: string): Promise<unknown> => {
  if (isFile(use)) return import(fileUrl(path.resolve(folder, use)))
  // what resolves a package from another place than this one is nowhere else
  const { createRequire } = process.getBuiltinModule("node:module")
  const found = Option.liftThrowable(createRequire(path.join(folder, "sandbox.yaml")).resolve)(use)
  return import(Option.match(found, { onNone: () => use, onSome: fileUrl }))
}

const fileUrl = (path: string): string => `file://${path.split("/").map(encodeURIComponent).join("/")}`
