/** What a repository seems to be, told by the files at its top. Each sign says how sure it makes us. */
import { Effect, FileSystem, Option, Path, Schema } from "effect"
import type { Finding, Read, Signal, Suggestion } from "./Finding.ts"
import * as node from "./node.ts"

export interface Detected {
  readonly signals: ReadonlyArray<Signal>
  /** The surest first; what is less sure than `sure` is only suggested. */
  readonly services: ReadonlyArray<Suggestion>
  /** Makes a fresh checkout ready to run. */
  readonly prepare: string | undefined
  readonly inherit: ReadonlyArray<string>
}

export const sure = 0.5

type Detector = (read: Read) => Effect.Effect<Finding | undefined>

export const detect = Effect.fnUntraced(function* (top: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const read: Read = (name) =>
    fs.stat(path.join(top, name)).pipe(
      Effect.flatMap(({ size, type }) =>
        type === "File" && size < 1024n * 1024n ? fs.readFileString(path.join(top, name)) : Effect.succeed(undefined)
      ),
      Effect.orElseSucceed(() => undefined)
    )
  const findings: Array<Finding> = []
  for (const detector of detectors) {
    const finding = yield* detector(read)
    if (finding !== undefined) findings.push(finding)
  }
  const inherit: Array<string> = []
  for (const name of [".env", ".env.local"]) {
    if ((yield* read(name)) === undefined) continue
    inherit.push(name)
    findings.push({ signals: [{ file: name, what: "variables that git may not carry", confidence: 0.9 }] })
  }
  const best = findings
    .filter(({ services }) => services !== undefined && services.length > 0)
    .toSorted((a, b) => confidence(b) - confidence(a))[0]
  const detected: Detected = {
    signals: findings.flatMap(({ signals }) => signals).toSorted((a, b) => b.confidence - a.confidence),
    services: best?.services ?? [],
    prepare: best?.prepare ?? findings.find(({ prepare }) => prepare !== undefined)?.prepare,
    inherit
  }
  return detected
})

const confidence = ({ services }: Finding): number =>
  Math.max(0, ...(services ?? []).map(({ confidence }) => confidence))

const one = (signal: Signal, service: Omit<Suggestion, "confidence" | "name">, prepare?: string): Finding => ({
  signals: [signal],
  services: [{ name: "web", confidence: signal.confidence, ...service }],
  prepare
})

const procfile: Detector = Effect.fnUntraced(function* (read) {
  const text = yield* read("Procfile")
  if (text === undefined) return undefined
  const services = Array.from(
    text.matchAll(/^([A-Za-z0-9_-]+):[ \t]*(\S.*)$/gm),
    ([, name = "", command = ""], index): Suggestion => {
      const web = name === "web"
      return {
        name:
          name
            .toLowerCase()
            .replace(/^[^a-z0-9]+/, "")
            .slice(0, 63) || `process-${index + 1}`,
        command: command.trim(),
        ...(web ? { port: 5000, portEnv: "PORT" } : {}),
        confidence: 0.9
      }
    }
  ).filter(({ name }) => name !== "release")
  return {
    signals: [
      {
        file: "Procfile",
        what: `${services.length} processes: ${services.map(({ name }) => name).join(", ")}`,
        confidence: 0.9
      }
    ],
    services
  }
})

const packageJson: Detector = Effect.fnUntraced(function* (read) {
  const text = yield* read("package.json")
  if (text === undefined) return undefined
  const manifest = Option.getOrUndefined(decodeManifest(text))
  if (manifest === undefined) {
    return { signals: [{ file: "package.json", what: "cannot be read", confidence: 0 }] }
  }
  const locks: Array<string> = []
  for (const lock of node.locks) if ((yield* read(lock)) !== undefined) locks.push(lock)
  return node.finding(manifest, locks)
})

const decodeManifest = Schema.decodeUnknownOption(Schema.fromJsonString(node.Manifest))

const django: Detector = Effect.fnUntraced(function* (read) {
  if ((yield* read("manage.py")) === undefined) return undefined
  const requirements = (yield* read("requirements.txt")) !== undefined
  return one(
    { file: "manage.py", what: "a Django project", confidence: 0.8 },
    { command: 'python manage.py runserver "127.0.0.1:$PORT"', port: 8000, portEnv: "PORT" },
    requirements ? "pip install -r requirements.txt" : undefined
  )
})

const python: Detector = Effect.fnUntraced(function* (read) {
  const manifests = [
    ["pyproject.toml", yield* read("pyproject.toml")],
    ["requirements.txt", yield* read("requirements.txt")]
  ] as const
  const [file, text] = manifests.find(([, text]) => text !== undefined) ?? []
  if (file === undefined || text === undefined) return undefined
  const all = manifests.map(([, text]) => text ?? "").join("\n")
  const prepare = manifests[1][1] === undefined ? undefined : "pip install -r requirements.txt"
  for (const module of ["main", "app"]) {
    const source = yield* read(`${module}.py`)
    if (source === undefined) continue
    if (/fastapi/i.test(all) && /\bapp\s*=\s*FastAPI\(/.test(source)) {
      const command = `python -m uvicorn ${module}:app --reload --port "$PORT"`
      return one(
        { file, what: `FastAPI, in ${module}.py`, confidence: 0.8 },
        { command, port: 8000, portEnv: "PORT" },
        prepare
      )
    }
    if (/flask/i.test(all) && /Flask\(/.test(source)) {
      const command = `python -m flask --app ${module} run --port "$PORT"`
      return one(
        { file, what: `Flask, in ${module}.py`, confidence: 0.8 },
        { command, port: 5000, portEnv: "PORT" },
        prepare
      )
    }
  }
  return { signals: [{ file, what: "a Python project; what it runs cannot be told", confidence: 0.2 }], prepare }
})

const go: Detector = Effect.fnUntraced(function* (read) {
  if ((yield* read("go.mod")) === undefined) return undefined
  const main = yield* read("main.go")
  const serves = main !== undefined && /ListenAndServe|\bgin\.|\becho\.|\bfiber\./.test(main)
  const signal = {
    file: "go.mod",
    what: serves ? "a Go server, in main.go" : "a Go module",
    confidence: serves ? 0.6 : 0.2
  }
  return one(
    signal,
    serves ? { command: "go run .", port: 8080, portEnv: "PORT" } : { command: "go run ." },
    "go mod download"
  )
})

const rust: Detector = Effect.fnUntraced(function* (read) {
  const text = yield* read("Cargo.toml")
  if (text === undefined) return undefined
  const framework = /^(axum|actix-web|rocket|warp)\b/m.exec(text)?.[1]
  return one(
    {
      file: "Cargo.toml",
      what: framework === undefined ? "a Rust crate" : `a Rust server with ${framework}`,
      confidence: framework === undefined ? 0.2 : 0.6
    },
    framework === undefined ? { command: "cargo run" } : { command: "cargo run", port: 8080, portEnv: "PORT" }
  )
})

const ruby: Detector = Effect.fnUntraced(function* (read) {
  const text = yield* read("Gemfile")
  if (text === undefined) return undefined
  if (/^\s*gem\s+["']rails["']/m.test(text)) {
    return one(
      { file: "Gemfile", what: "Ruby on Rails", confidence: 0.8 },
      { command: 'bin/rails server --port "$PORT"', port: 3000, portEnv: "PORT" },
      "bundle install"
    )
  }
  if ((yield* read("config.ru")) !== undefined) {
    return one(
      { file: "config.ru", what: "a Rack application", confidence: 0.7 },
      { command: 'bundle exec rackup --port "$PORT"', port: 9292, portEnv: "PORT" },
      "bundle install"
    )
  }
  return {
    signals: [{ file: "Gemfile", what: "a Ruby project; what it runs cannot be told", confidence: 0.2 }],
    prepare: "bundle install"
  }
})

const compose: Detector = Effect.fnUntraced(function* (read) {
  const signals: Array<Signal> = []
  for (const file of ["docker-compose.yml", "docker-compose.yaml", "compose.yml", "compose.yaml"]) {
    if ((yield* read(file)) !== undefined) {
      signals.push({ file, what: "containers that this configuration does not start", confidence: 0.3 })
    }
  }
  return signals.length === 0 ? undefined : { signals }
})

const detectors: ReadonlyArray<Detector> = [procfile, packageJson, django, python, go, rust, ruby, compose]
