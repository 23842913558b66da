import { fileURLToPath } from "node:url"
import { defineConfig } from "tsup"

/** For Node, yaml offers CommonJS alone, whose `require` calls an ES module cannot carry. */
const yaml = fileURLToPath(new URL("browser/index.js", import.meta.resolve("yaml/package.json")))

export default defineConfig({
  entry: ["src/main.ts"],
  format: ["esm"],
  target: "node22",
  platform: "node",
  removeNodeProtocol: false, // tsup strips `node:` by default, which breaks node:sqlite
  splitting: true, // providers and the PostgreSQL driver stay chunks of their own, loaded by the verbs that need them
  treeshake: false,
  minify: true,
  sourcemap: false,
  clean: ["!**/*.d.ts", "!**/*.d.ts.map", "!.tsbuildinfo"], // everything but what tsc wrote
  dts: false,
  noExternal: [/.*/], // one self-contained CLI
  esbuildOptions(options) {
    options.conditions = ["@org/source"]
    options.alias = { yaml }
  }
})
