import { availableParallelism } from "node:os"
import { defineConfig } from "vitest/config"

const resolve = { conditions: ["@org/source"] }
const ssr = { resolve: { ...resolve, externalConditions: resolve.conditions } }

const project = (
  name: string,
  root: string,
  include: ReadonlyArray<string>,
  globalSetup: ReadonlyArray<string> = []
) => ({
  ssr,
  test: {
    name,
    root,
    include: [...include],
    globalSetup: [...globalSetup],
    // starting a program takes the longer the more memory a process has, and threads share theirs
    pool: "forks" as const,
    testTimeout: Number(process.env["SANDBOX_TEST_TIMEOUT"] ?? 120_000),
    hookTimeout: 60_000
  }
})

export default defineConfig({
  test: {
    projects: [
      ...["core", "conformance", "provider-local", "provider-docker", "cli"].map((name) =>
        project(name, `packages/${name}`, ["test/**/*.test.ts"])
      ),
      project("system", "test", ["**/*.test.ts"], ["./cli.ts"]),
      project("examples", "examples", ["*/*.test.ts"], ["../test/cli.ts"])
    ],
    globalSetup: ["./test/seed.ts", "./test/postgres.ts"],
    // most of what a test does is waited for, and two at a time make a run shorter on two cores as well
    maxWorkers: Math.max(2, availableParallelism() - 1),
    reporters: [process.env["CI"] ? "dot" : "default", "./scripts/closing-line.ts"],
    coverage: {
      provider: "v8",
      include: ["packages/*/src/**/*.ts"],
      reporter: ["text-summary", "json-summary"]
    }
  }
})
