/** The provider's own section of the configuration. */
import * as Configuration from "@org/sandbox-core/Configuration"
import { Schema } from "effect"

const Named = Schema.NonEmptyString

export const Options = Schema.Struct({
  /** Where the engine listens; DOCKER_HOST, or the docker context in use, or the standard socket, when absent. */
  host: Schema.optionalKey(Named),
  /** A directory with `ca.pem`, or `cert.pem` and `key.pem`, or all three, for TLS; DOCKER_CERT_PATH, when absent. */
  certificates: Schema.optionalKey(Named),
  /** What boxes are made from that ask for no image. */
  image: Schema.optionalKey(Named),
  /** A directory of this host that the image is built of, for boxes that ask for none; goes before `image`. */
  build: Schema.optionalKey(
    Schema.Struct({
      context: Named,
      /** A file in the directory; `Dockerfile`, when absent. */
      dockerfile: Schema.optionalKey(Named),
      /** Values for what the Dockerfile declares with ARG. No secrets: the image tells them to everybody. */
      args: Schema.optionalKey(Schema.Record(Schema.String, Schema.String)),
      /** The stage of the Dockerfile that is the image; the last one, when absent. */
      target: Schema.optionalKey(Named)
    })
  ),
  /** When an image is asked of its registry: where the engine has none of the name, before each box, or never. */
  pull: Schema.optionalKey(Schema.Literals(["missing", "always", "never"])),
  /** Who commands run as, by name or numbers: `name`, `1000`, `1000:1000`. The image's own user, or 1000:1000 where that is root. */
  user: Schema.optionalKey(Named),
  cpus: Schema.optionalKey(Schema.Finite),
  /** Bytes, or text such as 4g. */
  memory: Schema.optionalKey(Configuration.Memory),
  /** How many processes and threads. */
  pids: Schema.optionalKey(Schema.Int),
  /** `all`, how many, or the names of devices. */
  gpus: Schema.optionalKey(Schema.Union([Schema.Literal("all"), Schema.Int, Schema.Array(Named)])),
  /** `session`: a bridge of its own for each box; `none`; or the name of a network that exists. */
  network: Schema.optionalKey(Named),
  /** The box can write only its checkout, its home and /tmp. */
  read_only_root: Schema.optionalKey(Schema.Boolean),
  /** Another runtime of the engine, such as runsc or kata. */
  runtime: Schema.optionalKey(Named)
})

export type Options = typeof Options.Type

/** What a box gets that nobody asked for. */
export const defaults = {
  image: "debian:bookworm-slim",
  pull: "missing",
  user: "1000:1000",
  cpus: 2,
  memory: 4 * 2 ** 30,
  pids: 4096,
  network: "session"
} as const
