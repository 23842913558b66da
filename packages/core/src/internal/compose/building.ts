/** The build of a service's image, from the checkout alone: pure. */
import { type Entries, isPath, labelled, listOf, mapOf, pairsOf, without } from "./document.ts"
import type { Context } from "./wanted.ts"

/** What an image that is built here is called, by the name that the file gives it: sessions must not build over each other. */
export const builtImages = (all: Entries, project: string): ReadonlyMap<string, string> =>
  new Map(
    Object.entries(all).flatMap(([name, entry]) => {
      const { build, image } = mapOf(entry)
      return build === undefined || build === null ? [] : [[String(image ?? name), `${project}-${name}`] as const]
    })
  )

/** Every path that it reads or writes is told as one of the host's, to be judged. */
export const building = (at: string, build: unknown, { remarks, wanted }: Context): Entries => {
  const said: Entries = typeof build === "string" ? { context: build } : mapOf(build)
  const context = String(said["context"] ?? "")
  const local = isPath(context)
  const caches = ["cache_from", "cache_to"].flatMap((key) =>
    listOf(said[key]).flatMap((entry) =>
      [...String(entry).matchAll(/(?:^|,)(?:src|dest)=([^,]+)/g)].map(([, path]) => [key, path!] as const)
    )
  )
  const paths = [
    ...(local ? [["context", context] as const] : []),
    ...(local && said["dockerfile"] !== undefined
      ? [["dockerfile", within(context, String(said["dockerfile"]))] as const]
      : []),
    ...Object.values(pairsOf(said["additional_contexts"]))
      .map((from) => from.replace(/^(oci-layout|local):\/\//, ""))
      .filter(isPath)
      .map((path) => ["additional_contexts", path] as const),
    ...caches
  ]
  // a build sends all of it to the engine: nothing that the checkout has not got
  for (const [key, path] of paths) remarks.mounts.push({ field: `${at}.build.${key}`, path, readOnly: false })
  return { ...without(said, "tags"), labels: labelled(said["labels"], wanted.labels) }
}

const within = (folder: string, path: string): string => (path.startsWith("/") ? path : `${folder}/${path}`)
