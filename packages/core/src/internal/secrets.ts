/** Secrets: found before anything is claimed, delivered into the box over stdin, and never written anywhere else. */
import { Effect, FileSystem, Path, Redacted } from "effect"
import { Ids } from "../Ids.ts"
import { Processes } from "../Processes.ts"
import type { Backend } from "../Provisioners.ts"
import * as SandboxError from "../SandboxError.ts"
import type { InstanceRef } from "../Session.ts"
import type * as Setup from "../Setup.ts"
import type { Variables } from "./environment.ts"
import * as inBox from "./inBox.ts"

/** A secret with its value. */
export interface Resolved extends Setup.Secret {
  readonly value: Redacted.Redacted<string>
}

/** Finds every secret of a setup. Fails with `ERR_SECRET_MISSING` that names all that are not there. */
export const resolve = Effect.fnUntraced(function* (setup: Setup.Setup | null) {
  const found: Array<Resolved> = []
  const missing: Array<{ readonly name: string; readonly from: string }> = []
  for (const secret of setup?.secrets ?? []) {
    const value = yield* valueOf(secret)
    if (value === undefined) missing.push({ name: secret.name, from: sourceOf(secret) })
    else found.push({ ...secret, value: Redacted.make(value) })
  }
  if (missing.length === 0) return found
  return yield* SandboxError.make("ERR_SECRET_MISSING", {
    message: `no value was found for ${missing.map(({ from, name }) => `${name} (${from})`).join(", ")}`,
    nextStep: "set them, or say where they are with --secret NAME=env:VARIABLE or --secret NAME=file:PATH",
    details: { secrets: missing }
  })
})

const sourceOf = ({ from }: Setup.Secret): string => ("env" in from ? `env:${from.env}` : `file:${from.file}`)

/** An empty value is as good as none. */
const valueOf = Effect.fnUntraced(function* ({ from }: Setup.Secret) {
  if ("env" in from) return (yield* (yield* Processes).environment)[from.env] || undefined
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const text = yield* fs.readFileString(path.resolve(from.file)).pipe(Effect.orElseSucceed(() => ""))
  const value = text.replace(/\r?\n$/, "")
  return value === "" ? undefined : value
})

const empty = `rm -rf "$SANDBOX_RUN_DIR/secrets.d"`

const save = `
umask 077
mkdir -p "$SANDBOX_RUN_DIR/secrets.d" && cd "$SANDBOX_RUN_DIR/secrets.d" && cat >"$1"
`

/** Puts those that are files where commands find them: `$SANDBOX_RUN_DIR/secrets.d/<name>`, mode 0600 from the beginning. */
export const deliver = Effect.fnUntraced(function* (
  backend: Backend,
  ref: InstanceRef,
  secrets: ReadonlyArray<Resolved>
) {
  yield* inBox.mustRun(backend, ref, "removing old secrets", { script: empty })
  for (const secret of secrets.filter(({ to }) => to === "file")) {
    yield* inBox.mustRun(backend, ref, `writing the secret ${secret.name}`, {
      script: save,
      args: [secret.name],
      stdin: Redacted.value(secret.value)
    })
  }
})

/** Those that are variables, and a password for every service that wants one: the one it had before, or a new one. */
export const variables = Effect.fnUntraced(function* (
  setup: Setup.Setup,
  secrets: ReadonlyArray<Resolved>,
  before: Variables
) {
  const ids = yield* Ids
  const values: Record<string, string> = {}
  for (const { passwordEnv } of setup.services) {
    if (passwordEnv !== undefined) values[passwordEnv] ??= before[passwordEnv] ?? (yield* ids.secret)
  }
  for (const { name, to, value } of secrets) if (to === "env") values[name] = Redacted.value(value)
  return values
})

/** The fewest characters that are worth blotting out: less would tear ordinary words. */
const telling = 3

/** Text with every known secret blotted out, whole and line by line, for messages that quote what a command wrote. */
export const redact = (text: string, values: Iterable<string>): string => {
  const parts = [...values]
    .flatMap((value) => [value, ...value.split(/\r?\n/)])
    .filter(({ length }) => length >= telling)
  // a secret that is the start of another must not leave the rest of that one behind
  const longestFirst = [...new Set(parts)].toSorted((a, b) => b.length - a.length)
  return longestFirst.reduce((clean, part) => clean.replaceAll(part, "***"), text)
}
