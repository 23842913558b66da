/** What a package.json says about how a project is run. */
import { Schema } from "effect"
import type { Finding } from "./Finding.ts"

const Texts = Schema.optionalKey(Schema.Record(Schema.String, Schema.String))

export const Manifest = Schema.Struct({ scripts: Texts, dependencies: Texts, devDependencies: Texts })

/** How a framework is told on which port to listen: by `PORT`, or by this flag of its own. */
interface Framework {
  readonly name: string
  readonly port: number
  readonly flag?: string
}

/** By dependency; the first that is there counts, so that what builds on something else comes before it. */
const frameworks: ReadonlyArray<readonly [dependency: string, Framework]> = [
  ["next", { name: "Next.js", port: 3000 }],
  ["nuxt", { name: "Nuxt", port: 3000 }],
  ["astro", { name: "Astro", port: 4321, flag: "--port" }],
  ["@sveltejs/kit", { name: "SvelteKit", port: 5173, flag: "--strictPort --port" }],
  ["@remix-run/dev", { name: "Remix", port: 3000 }],
  ["@angular/core", { name: "Angular", port: 4200, flag: "--port" }],
  ["react-scripts", { name: "Create React App", port: 3000 }],
  ["gatsby", { name: "Gatsby", port: 8000, flag: "--port" }],
  ["vite", { name: "Vite", port: 5173, flag: "--strictPort --port" }],
  ["@nestjs/core", { name: "NestJS", port: 3000 }],
  ["fastify", { name: "Fastify", port: 3000 }],
  ["express", { name: "Express", port: 3000 }],
  ["koa", { name: "Koa", port: 3000 }],
  ["hono", { name: "Hono", port: 3000 }]
]

const managers = {
  "pnpm-lock.yaml": { run: "pnpm", install: "pnpm install --frozen-lockfile" },
  "yarn.lock": { run: "yarn", install: "yarn install --immutable" },
  "bun.lock": { run: "bun", install: "bun install --frozen-lockfile" },
  "bun.lockb": { run: "bun", install: "bun install --frozen-lockfile" },
  "package-lock.json": { run: "npm", install: "npm ci" }
} as const

/** The lock files that tell a package manager. */
export const locks = Object.keys(managers) as ReadonlyArray<keyof typeof managers>

export const finding = (manifest: typeof Manifest.Type, present: ReadonlyArray<string>): Finding => {
  const lock = locks.find((name) => present.includes(name))
  const manager = lock === undefined ? { run: "npm", install: "npm install" } : managers[lock]
  const script = ["dev", "start"].find((name) => manifest.scripts?.[name] !== undefined)
  const dependencies = { ...manifest.devDependencies, ...manifest.dependencies }
  const framework = frameworks.find(([name]) => Object.hasOwn(dependencies, name))?.[1]
  const packages = lock === undefined ? [] : [{ file: lock, what: `packages by ${manager.run}`, confidence: 0.9 }]
  if (script === undefined) {
    const what = "a Node project without a dev or start script"
    return { signals: [{ file: "package.json", what, confidence: 0.2 }, ...packages], prepare: manager.install }
  }
  const confidence = framework === undefined ? 0.5 : 0.8
  const passed = framework?.flag === undefined ? "" : `${manager.run === "npm" ? " --" : ""} ${framework.flag} "$PORT"`
  return {
    signals: [
      {
        file: "package.json",
        what: `the script ${script}${framework === undefined ? "" : ` of ${framework.name}`}`,
        confidence
      },
      ...packages
    ],
    services: [
      {
        name: "web",
        command: `${manager.run} run ${script}${passed}`,
        port: framework?.port ?? 3000,
        portEnv: "PORT",
        health: framework === undefined ? undefined : "/",
        confidence
      }
    ],
    prepare: manager.install
  }
}
