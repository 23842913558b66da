/**
 * Every key of a configuration file, with its meaning and its default.
 *
 * A default applies where a key is absent, and nowhere else: an explicit `false`, `0` or `""` stays. Descriptions and
 * defaults go into the JSON Schema that editors read.
 */
import { Effect, Schema } from "effect"
import {
  AtLeast,
  asDuration,
  CommandLine,
  Limit,
  Memory,
  Name,
  OwnVariable,
  Port,
  Positive,
  SecretSource,
  Span,
  Text,
  Variable,
  Variables
} from "./scalars.ts"

/** A key that may be absent. */
const maybe = <S extends Schema.Top>(schema: S, description: string) =>
  Schema.optionalKey(schema.annotate({ description }) as S)

/** A key that has a default. */
const key = <S extends Schema.Top, const A extends S["Encoded"]>(schema: S, value: A, description: string) =>
  (schema.annotate({ description, default: value as never }) as S).pipe(
    Schema.withDecodingDefaultKey(Effect.succeed(value) as Effect.Effect<S["Encoded"]>)
  )

/** A key that is a duration, and has a default. */
const time = (text: typeof Limit, value: string, description: string) =>
  asDuration(text.annotate({ description, default: value }) as typeof Limit).pipe(
    Schema.withDecodingDefaultKey(Effect.succeed(value))
  )

/** A map of keys with defaults of their own. */
const section = <S extends Schema.Top>(schema: S, description: string) =>
  (schema.annotate({ description }) as S).pipe(
    Schema.withDecodingDefaultKey(Effect.succeed({}) as Effect.Effect<S["Encoded"]>)
  )

const EnvironmentNames = Schema.Union([Variable, Schema.Array(Variable)])

export const Profile = Schema.Struct({
  image: maybe(Text, "The image that boxes are made from"),
  cpus: maybe(Positive, "Virtual CPUs"),
  memory: maybe(Memory, "Memory: bytes, or text such as 512m or 8g")
})

export const ExtraPort = Schema.Struct({
  name: Name.annotate({ description: "The port is called <service>-<name>" }),
  port: Port.annotate({ description: "The port of slot 0, which no session has" }),
  port_env: maybe(EnvironmentNames, "Variables that carry the number, beside SANDBOX_<SERVICE>_<NAME>_PORT")
})

export const Health = Schema.Struct({
  http: maybe(Schema.String, "Works when a GET of this path answers with a status below 400"),
  tcp: maybe(Schema.Literal(true), "Works when the service's port accepts connections"),
  command: maybe(CommandLine, "Works when this command ends with 0"),
  timeout_s: key(Positive, 60, "Seconds until a service that does not work yet is given up")
})

export const Service = Schema.Struct({
  name: Name.annotate({ description: "Unique; also what the service's port is called" }),
  command: CommandLine.annotate({ description: "A line for `sh -c`, or a list of words that no shell reads" }),
  cwd: maybe(Text, "Where it runs, below the checkout; the checkout itself, when absent"),
  env: key(Variables, {}, "Variables of this service alone"),
  port: maybe(Port, "The port of slot 0; a session listens on port + slot × slots.stride"),
  port_env: maybe(EnvironmentNames, "Variables that carry the number, beside SANDBOX_<NAME>_PORT"),
  extra_ports: key(Schema.Array(ExtraPort), [], "Further ports of the service"),
  health: maybe(
    Schema.Union([Schema.String, Health]),
    "How to see that it works: a path to GET, or a map with one of http, tcp and command"
  ),
  primary: key(Schema.Boolean, false, "Its URL is the session's; the first service with a port is, when none says so"),
  password_env: maybe(Variable, "A variable that carries a password made for the session"),
  completes: maybe(
    Text,
    "What says that the work is done: exit, that the service has ended with 0; or a path below the checkout, that this file was written"
  )
})

export const ComposeService = Schema.Struct({
  name: Name.annotate({ description: "As the compose file calls it; also what its port is called" }),
  port: maybe(Port, "The port of slot 0; 127.0.0.1 of this host listens on port + slot × slots.stride for it"),
  target: maybe(Port, "The port in the container; the one that the compose file names, when absent"),
  port_env: maybe(EnvironmentNames, "Variables that carry the number, beside SANDBOX_<NAME>_PORT"),
  host_env: maybe(
    EnvironmentNames,
    "Variables that carry where it is reached, beside SANDBOX_<NAME>_HOST: 127.0.0.1, or its name beside a box"
  ),
  extra_ports: key(
    Schema.Array(
      Schema.Struct({
        ...ExtraPort.fields,
        target: Port.annotate({ description: "The port in the container" })
      })
    ),
    [],
    "Further ports of the service"
  ),
  health: maybe(
    Schema.Union([Schema.String, Health]),
    "How to see that it works, beside the compose file's own healthcheck; a command runs in its container"
  )
})

export const Compose = Schema.Struct({
  file: Schema.Union([Text, Schema.Array(Text)]).annotate({
    description: "The compose file in the repository, or several of which later ones add to earlier ones"
  }),
  services: key(
    Schema.Array(ComposeService),
    [],
    "Which services of it, with what they depend on; all that are behind no profile, and no port, when empty"
  )
})

export const Inherit = Schema.Struct({
  file: Text.annotate({ description: "A file of the repository on this host that git does not carry" }),
  mode: key(Schema.Literals(["symlink", "copy"]), "symlink", "copy is made once; symlink follows the original")
})

export const Secret = Schema.Struct({
  name: Variable.annotate({ description: "The variable, or the file's name" }),
  from: maybe(SecretSource, "env:<NAME> or file:<path>; env:<the secret's name>, when absent"),
  to: key(Schema.Literals(["env", "file"]), "env", "env: a variable; file: $SANDBOX_RUN_DIR/secrets.d/<name>")
})

export const Provider = Schema.Struct({
  use: maybe(
    Text,
    "A file relative to this one, a package, or a built-in provider; the built-in of that name, when absent"
  ),
  options: key(Schema.Record(Schema.String, Schema.Unknown), {}, "The provider's own options")
})

export const File = Schema.Struct({
  provider: maybe(Schema.String, "Where sessions run, by the provider's name"),
  control_plane_url: maybe(Schema.String, "Not supported by this version"),
  repo: section(
    Schema.Struct({
      url: maybe(Text, "What `sandbox up` brings up when no repository is named: a URL, or a path"),
      branch: maybe(Schema.String, "The branch to work on; the repository's default one, when absent"),
      base: maybe(Schema.String, "A branch, tag or commit that a new branch starts at"),
      depth: maybe(AtLeast(1), "How many commits of history a clone gets; all, when absent")
    }),
    "The repository, where `sandbox up` names none"
  ),
  sandbox: section(
    Schema.Struct({
      profile: maybe(Name, "Which of the profiles a box is made from"),
      profiles: key(Schema.Record(Schema.String, Profile), {}, "What boxes may be made from, by name"),
      web_base_url: maybe(
        Text,
        "The address of a session on the web, where it is not the service's own: {port}, {name} and {slot} are filled in"
      ),
      auto_teardown: key(
        Schema.Boolean,
        true,
        "Let export and gc destroy a completed session once all of its work is saved"
      ),
      completed_retention_mins: key(AtLeast(0), 60, "Minutes that a completed session is kept before that"),
      mode: maybe(
        Schema.Literals(["host", "container", "hybrid"]),
        "host: only providers that do not isolate; container: only those that do; hybrid: both"
      )
    }),
    "The box"
  ),
  durability: section(
    Schema.Struct({
      checkpoint: key(
        Schema.Literals(["on_down", "manual"]),
        "on_down",
        "on_down: halting and completing a session save its work; manual: only `checkpoint create` does"
      ),
      include: key(
        Schema.Array(Text),
        [],
        "Patterns as in .gitignore: files that git ignores and checkpoints take along all the same"
      ),
      max_payload_bytes: key(AtLeast(1), 131_072, "The largest record of a session, in bytes"),
      volume: key(
        Schema.Literals(["ephemeral", "persist"]),
        "ephemeral",
        "persist: what a box has on its disk outside the checkout is wanted too; only the checkout is ever saved or moved, so that `destroy` and `switch` ask for --confirm-data-loss"
      )
    }),
    "What is kept of a session"
  ),
  github: section(
    Schema.Struct({
      token_env: maybe(
        OwnVariable,
        "The variable of this host that holds the token for github.com; GITHUB_TOKEN, when absent"
      ),
      export_branch_prefix: maybe(
        Text,
        "What the name of an export's branch starts with, before the session's name; sandbox/, when absent"
      )
    }),
    "GitHub"
  ),
  slots: section(
    Schema.Struct({
      max: key(AtLeast(1), 8, "How many sessions with ports this host takes"),
      stride: key(AtLeast(1), 1, "How far apart the ports of neighbouring slots are"),
      search_range: key(AtLeast(0), 10, "How many other ports are tried when one is taken"),
      strict: key(Schema.Boolean, false, "Never try another port")
    }),
    "How sessions on one host share out its ports"
  ),
  services: key(Schema.Array(Service), [], "What runs beside the checkout, started in this order"),
  compose: maybe(Compose, "Services of a compose file: containers beside the session, up before its own services"),
  hooks: section(
    Schema.Struct({
      pre_up: maybe(CommandLine, "In the repository on this host, before a box is made"),
      pre_spawn: maybe(CommandLine, "In the checkout, before services start"),
      post_up: maybe(CommandLine, "In the checkout, once every service works"),
      pre_down: maybe(CommandLine, "In the checkout, before the box is halted"),
      post_down: maybe(CommandLine, "In the repository on this host, once the box is halted and saved"),
      timeout_s: key(Positive, 60, "Seconds that each may take")
    }),
    "Commands at the turns of a session's life"
  ),
  env: key(Variables, {}, "Variables of everything that runs in the box"),
  inherit_env: key(
    Schema.Array(Schema.Union([Text, Inherit])),
    [],
    "Files such as .env that a checkout gets from the repository on this host; later ones win"
  ),
  providers: key(
    Schema.Record(Schema.String, Provider),
    {},
    "Providers beside the built-in ones, and options of these, by name"
  ),
  secrets: key(Schema.Array(Secret), [], "Values that a session gets and no record keeps"),
  switch: section(
    Schema.Struct({
      on_stop_failure: key(Schema.Literals(["record", "abort"]), "record", "When the old box cannot be halted"),
      on_failure: key(Schema.Literals(["restore", "hold"]), "restore", "When the new box cannot be made")
    }),
    "Moving a session to another provider"
  ),
  timeouts: section(
    Schema.Struct({
      provision: time(Limit, "12m", "Making a box"),
      stop: time(Limit, "5m", "Halting or starting a box"),
      look: time(Limit, "30s", "Asking a provider what there is"),
      workspace: time(Limit, "15m", "Placing or removing a checkout"),
      lease: time(Limit, "30s", "How long a command that died keeps others off its session"),
      undo: time(Limit, "60s", "Each step of a rollback")
    }),
    "How long things may take"
  ),
  list: section(
    Schema.Struct({ recent_window: time(Span, "7d", "How long `sandbox list` shows a session after it ended") }),
    "What is shown"
  )
}).annotate({ title: "sandbox.yaml", description: "How a repository's sandboxes are made" })

/** A configuration with every default filled in. */
export type Configuration = typeof File.Type
