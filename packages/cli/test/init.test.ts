/** What `init` makes of repositories, each of which must load without a problem. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, describe, it } from "@effect/vitest"
import * as Configuration from "@org/sandbox-core/Configuration"
import { Effect } from "effect"
import { parse } from "../src/config/Yaml.ts"
import { detect } from "../src/init/detect.ts"
import { write } from "../src/init/write.ts"
import { builtin } from "../src/Providers.ts"

const json = (value: unknown) => JSON.stringify(value)

const repositories: Readonly<
  Record<
    string,
    {
      readonly files: Record<string, string>
      readonly services: Record<string, readonly [command: string, port: number | undefined]>
      readonly prepare?: string
    }
  >
> = {
  "nothing that is known": { files: { "README.md": "x" }, services: {} },
  "Vite with npm": {
    files: {
      "package.json": json({ scripts: { dev: "vite" }, devDependencies: { vite: "7" } }),
      "package-lock.json": "{}"
    },
    services: { web: ['npm run dev -- --strictPort --port "$PORT"', 5173] },
    prepare: "npm ci"
  },
  "Next.js with pnpm": {
    files: {
      "package.json": json({
        scripts: { dev: "next dev", start: "next start" },
        dependencies: { next: "16", express: "5" }
      }),
      "pnpm-lock.yaml": ""
    },
    services: { web: ["pnpm run dev", 3000] },
    prepare: "pnpm install --frozen-lockfile"
  },
  "a Node server without a framework": {
    files: { "package.json": json({ scripts: { start: "node server.js" } }) },
    services: { web: ["npm run start", 3000] },
    prepare: "npm install"
  },
  "a library": { files: { "package.json": json({ scripts: { test: "x" } }) }, services: {}, prepare: "npm install" },
  "a package.json that is none": { files: { "package.json": "{" }, services: {} },
  "a Procfile, whatever else is there": {
    files: {
      Procfile: "web: bin/serve $PORT # : x\nworker: bin/work 'a: b'\nrelease: bin/migrate\n",
      "package.json": json({ scripts: { dev: "x" } })
    },
    services: { web: ["bin/serve $PORT # : x", 5000], worker: ["bin/work 'a: b'", undefined] },
    prepare: "npm install"
  },
  Django: {
    files: { "manage.py": "", "requirements.txt": "django" },
    services: { web: ['python manage.py runserver "127.0.0.1:$PORT"', 8000] },
    prepare: "pip install -r requirements.txt"
  },
  FastAPI: {
    files: { "pyproject.toml": 'dependencies = ["fastapi"]', "main.py": "app = FastAPI()" },
    services: { web: ['python -m uvicorn main:app --reload --port "$PORT"', 8000] }
  },
  Flask: {
    files: { "requirements.txt": "flask==3", "app.py": "app = Flask(__name__)" },
    services: { web: ['python -m flask --app app run --port "$PORT"', 5000] },
    prepare: "pip install -r requirements.txt"
  },
  "a Go server": {
    files: { "go.mod": "module x", "main.go": "http.ListenAndServe(addr, nil)" },
    services: { web: ["go run .", 8080] },
    prepare: "go mod download"
  },
  "a Go tool": { files: { "go.mod": "module x", "main.go": "package main" }, services: {}, prepare: "go mod download" },
  "a Rust server": { files: { "Cargo.toml": '[dependencies]\naxum = "1"' }, services: { web: ["cargo run", 8080] } },
  Rails: {
    files: { Gemfile: "gem 'rails'", "docker-compose.yml": "services: {}" },
    services: { web: ['bin/rails server --port "$PORT"', 3000] },
    prepare: "bundle install"
  }
}

describe("init", () => {
  for (const [about, { files, prepare, services }] of Object.entries(repositories)) {
    it.effect(`makes of ${about} a file that is valid and says what was seen`, () =>
      Effect.gen(function* () {
        const top = mkdtempSync(join(tmpdir(), "init-"))
        yield* Effect.addFinalizer(() => Effect.sync(() => rmSync(top, { recursive: true })))
        for (const [name, text] of Object.entries({ ...files, ".env": "A=1" })) {
          mkdirSync(dirname(join(top, name)), { recursive: true })
          writeFileSync(join(top, name), text)
        }
        const detected = yield* detect(top)
        for (const name of Object.keys(files).filter((name) => name !== "README.md")) {
          const known = detected.signals.map(({ file }) => file)
          // what a framework was told by needs no line of its own
          if (!/\.(py|go|txt)$/.test(name) || name === "manage.py") assert.include(known, name)
        }
        const { problems, value } = parse(write(detected, "local"))
        assert.deepEqual(problems, [])
        const { configuration, warnings } = yield* Configuration.load([{ name: "project", value }], {
          providers: builtin,
          repository: "path",
          top
        })
        assert.deepEqual(warnings, [])
        assert.deepEqual(
          Object.fromEntries(configuration.services.map(({ command, name, port }) => [name, [command, port] as const])),
          services
        )
        assert.strictEqual(configuration.hooks.pre_spawn, prepare)
        assert.strictEqual(configuration.provider, "local")
        assert.deepEqual(configuration.inherit_env, [".env"])
      }).pipe(Effect.provide(NodeServices.layer))
    )
  }
})
