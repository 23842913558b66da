/** The CLI under test: the published one, made by the same bundler from the same sources, but for modules with points and one
 * that makes it hurry. */
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { build, type Options } from "tsup"

const at = (path: string): string => fileURLToPath(new URL(path, import.meta.url))

const instrumented: Readonly<Record<string, string>> = {
  "@org/sandbox-core/Configuration": at("./instrument/configuration.ts"),
  "@org/sandbox-core/node": at("./instrument/node.ts"),
  "@org/sandbox-provider-docker": at("./instrument/docker.ts"),
  "@org/sandbox-provider-local": at("./instrument/local.ts"),
  "./DockerClient.ts": at("./instrument/dockerClient.ts")
}

const plugin: NonNullable<Options["esbuildPlugins"]>[number] = {
  name: "points",
  setup: (to) =>
    to.onResolve(
      {
        filter: /^(@org\/sandbox-(core\/Configuration|core\/node|provider-docker|provider-local)|\.\/DockerClient\.ts)$/
      },
      ({ importer, path }) =>
        // the module with points is the one that gets the real one
        importer.startsWith(at("./instrument/")) ? undefined : { path: instrumented[path]! }
    )
}

/** Bundles into a directory, and answers the file to run. */
export const bundle = async (directory: string): Promise<string> => {
  await build({
    config: false,
    silent: true,
    entry: { main: at("../../packages/cli/src/main.ts") },
    outDir: directory,
    format: ["esm"],
    target: "node22",
    platform: "node",
    removeNodeProtocol: false,
    splitting: true,
    noExternal: [/.*/],
    esbuildPlugins: [plugin],
    esbuildOptions: (options) => {
      options.conditions = ["@org/source"]
      options.alias = { yaml: fileURLToPath(new URL("browser/index.js", import.meta.resolve("yaml/package.json"))) }
    }
  })
  writeFileSync(join(directory, "package.json"), '{"type":"module"}\n')
  return join(directory, "main.js")
}
