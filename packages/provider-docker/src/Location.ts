/**
 * Which engine is meant, found as the docker command finds it: by the options, or DOCKER_HOST, or the context that
 * DOCKER_CONTEXT names or that is in use, or else it is the one of the standard socket.
 */
import { Hasher } from "@org/sandbox-core/Hasher"
import * as SandboxError from "@org/sandbox-core/SandboxError"
import { Config, Effect, FileSystem, Option, Path, Redacted, Schema, Stream } from "effect"
import * as Address from "./Address.ts"
import type * as DockerClient from "./DockerClient.ts"
import type { Options } from "./Options.ts"

/** Where the engine listens, and how to talk to it there. */
export const find = Effect.fnUntraced(function* (options: Pick<Options, "certificates" | "host">) {
  const host = options.host ?? (yield* variable("DOCKER_HOST"))
  const context = host === undefined ? yield* contextInUse : undefined
  if (context !== undefined) return yield* ofContext(context)

  const verify = options.certificates !== undefined || (yield* variable("DOCKER_TLS_VERIFY")) !== undefined
  const insecure = !verify && (yield* variable("DOCKER_TLS")) !== undefined
  const field = options.host === undefined ? "DOCKER_HOST" : "providers.docker.options.host"
  const address = yield* addressOf(host ?? Address.standard, { field, tls: verify || insecure })
  if (address._tag !== "tcp" || !address.tls) return at(address)
  if (options.certificates !== undefined) {
    return at(
      address,
      yield* namedCertificates(options.certificates, "providers.docker.options.certificates"),
      insecure
    )
  }
  const directory = yield* variable("DOCKER_CERT_PATH")
  return directory === undefined
    ? at(address, yield* certificates(yield* configuration, "DOCKER_CERT_PATH"), insecure)
    : at(address, yield* namedCertificates(directory, "DOCKER_CERT_PATH"), insecure)
})

/** A context by its name, and the setting that names it. */
interface Chosen {
  readonly name: string
  readonly field: string
}

/** The context that is in use; none where it is `default`, which stands for no context. */
const contextInUse = Effect.gen(function* () {
  const named = yield* variable("DOCKER_CONTEXT")
  const chosen: Chosen | undefined = named === undefined ? yield* current : { name: named, field: "DOCKER_CONTEXT" }
  return chosen?.name === "default" ? undefined : chosen
})

const current = Effect.gen(function* () {
  const file = (yield* Path.Path).join(yield* configuration, "config.json")
  const { currentContext: name } = (yield* json(file, { field: file, schema: Current })) ?? {}
  return name === undefined || name === "" ? undefined : { name, field: file }
})

const Current = Schema.Struct({ currentContext: Schema.optionalKey(Schema.String) })

/** What the docker command keeps of a context: https://docs.docker.com/engine/manage-resources/contexts/ */
const Meta = Schema.Struct({
  Endpoints: Schema.Struct({
    docker: Schema.Struct({
      Host: Schema.optionalKey(Schema.String),
      SkipTLSVerify: Schema.optionalKey(Schema.Boolean)
    })
  })
})

const ofContext = Effect.fnUntraced(function* ({ field, name }: Chosen) {
  const { join } = yield* Path.Path
  const directory = join(yield* configuration, "contexts")
  const id = yield* (yield* Hasher).sha256(Stream.make(new TextEncoder().encode(name)))
  const meta = yield* json(join(directory, "meta", id, "meta.json"), { field, schema: Meta })
  if (meta === undefined) return yield* unusable(field, `there is no docker context ${name}; see \`docker context ls\``)
  const { Host, SkipTLSVerify: insecure = false } = meta.Endpoints.docker
  const found = yield* certificates(join(directory, "tls", id, "docker"), field)
  return at(yield* addressOf(Host || Address.standard, { field, tls: insecure || found !== none }), found, insecure)
})

const at = (address: Address.Address, found: Certificates = none, insecure = false): DockerClient.Options => ({
  address,
  tls: { ...found, verify: !insecure }
})

const addressOf = (text: string, { field, tls }: { readonly field: string; readonly tls: boolean }) =>
  Effect.mapError(Effect.fromResult(Address.parse(text, tls)), (why) => unusable(field, why))

type Certificates = Omit<DockerClient.Tls, "verify">

const none: Certificates = {}

const namedCertificates = Effect.fnUntraced(function* (directory: string, field: string) {
  const found = yield* certificates(directory, field)
  return found === none ? yield* unusable(field, `${directory} has neither ca.pem nor cert.pem and key.pem`) : found
})

/** What a directory has of `ca.pem`, `cert.pem` and `key.pem`. */
const certificates = Effect.fnUntraced(function* (directory: string, field: string) {
  const { join } = yield* Path.Path
  const [ca, cert, key] = yield* Effect.forEach(["ca.pem", "cert.pem", "key.pem"], (name) =>
    content(join(directory, name), field)
  )
  if ((cert === undefined) !== (key === undefined)) {
    return yield* unusable(field, `${directory} has one of cert.pem and key.pem, and both are needed`)
  }
  if (ca === undefined && cert === undefined) return none
  const identity = cert === undefined || key === undefined ? undefined : { cert, key: Redacted.make(key) }
  return { ca, identity } satisfies Certificates as Certificates
})

/** Where the docker command keeps what it is configured by. */
const configuration = Effect.gen(function* () {
  const named = yield* variable("DOCKER_CONFIG")
  return named ?? (yield* Path.Path).join((yield* variable("HOME")) ?? "/", ".docker")
})

const json = Effect.fnUntraced(function* <A>(
  file: string,
  { field, schema }: { readonly field: string; readonly schema: Schema.Decoder<A> }
) {
  const text = yield* content(file, field)
  if (text === undefined) return undefined
  return yield* Effect.mapError(Schema.decodeEffect(Schema.fromJsonString(schema))(text), ({ message }) =>
    unusable(field, `${file} cannot be understood: ${message}`)
  )
})

/** The text of a file; nothing where there is none. */
const content = Effect.fnUntraced(function* (file: string, field: string) {
  const read = Effect.map((yield* FileSystem.FileSystem).readFileString(file), Option.some)
  const text = yield* Effect.catchIf(
    read,
    ({ reason }) => reason._tag === "NotFound",
    () => Effect.succeedNone
  ).pipe(Effect.mapError(({ message }) => unusable(field, `${file} cannot be read: ${message}`)))
  return Option.getOrUndefined(text)
})

/** A variable that is set, and not to nothing. */
const variable = (name: string) =>
  Effect.map(
    Effect.orElseSucceed(Config.option(Config.NonEmptyString(name)), () => Option.none<string>()),
    Option.getOrUndefined
  )

const unusable = (field: string, why: string) =>
  SandboxError.make("ERR_CONFIG_INVALID", {
    message: `the Docker engine cannot be addressed: ${why}`,
    nextStep: `correct ${field}${field === "DOCKER_HOST" ? "" : ", or name the engine in DOCKER_HOST"}`,
    details: { field }
  })
