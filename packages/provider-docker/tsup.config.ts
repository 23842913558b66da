import { defineConfig } from "tsup"

export default defineConfig({
  entry: ["src/*.ts"],
  format: ["esm"],
  target: "node22",
  platform: "node",
  removeNodeProtocol: false, // tsup strips `node:` by default, which breaks node:sqlite
  splitting: true,
  sourcemap: true,
  clean: ["!**/*.d.ts", "!**/*.d.ts.map", "!.tsbuildinfo"], // everything but what tsc wrote
  dts: false
})
