/**
 * What commands in a session find in their environment, beside what the box has by itself.
 *
 * It is kept in the box, in files of mode 0600 in its run directory, so that any process on any host that reaches the box
 * sees the same. In rising order: inherited files, the setup's own variables, what is generated, secrets, a service's own.
 */
import { Effect } from "effect"
import * as Dotenv from "../Dotenv.ts"
import type { Backend } from "../Provisioners.ts"
import type { InstanceRef, Session } from "../Session.ts"
import * as Setup from "../Setup.ts"
import * as Slots from "../Slots.ts"
import * as inBox from "./inBox.ts"

export type Variables = Readonly<Record<string, string>>

/** Both files of a session. */
export interface Environment {
  /** What `sandbox env` shows. */
  readonly variables: Variables
  /** What it only names. */
  readonly secrets: Variables
}

/** What is generated from the session's row. Nothing of it is a secret. */
export const generated = (row: Session): Variables => {
  const { setup } = row
  const ports = row.ports ?? {}
  const main = setup === null ? undefined : Setup.primary(setup)?.ports[0]
  const numbered = setup === null ? [] : Setup.ports(setup).flatMap((port) => variablesOf(port, ports))
  return {
    SANDBOX_NAME: row.name,
    SANDBOX_PROVIDER: row.provider,
    ...(row.workBranch === null ? {} : { SANDBOX_BRANCH: row.workBranch }),
    ...(row.slot === null ? {} : { SANDBOX_SLOT: String(row.slot) }),
    ...(main === undefined ? {} : withPort(Slots.numberOf(ports, main.name))),
    ...Object.fromEntries(numbered),
    ...Object.fromEntries(setup?.compose?.services.flatMap((service) => hostsOf(service, row)) ?? [])
  }
}

/** Where a compose service is reached: by its name in the network of a box, and else on this host, which its ports are of. */
const hostsOf = ({ hostEnv, name, ports }: Setup.ComposeService, row: Session) =>
  ports.length === 0
    ? []
    : [Setup.hostVariable(name), ...hostEnv].map(
        (variable) => [variable, Slots.isOnHost(row) ? "127.0.0.1" : name] as const
      )

const withPort = (number: number | undefined): Variables => (number === undefined ? {} : { PORT: String(number) })

const variablesOf = (port: Setup.Port, ports: Readonly<Record<string, number>>) => {
  const number = Slots.numberOf(ports, port.name)
  if (number === undefined) return []
  return [Setup.portVariable(port.name), ...port.env].map((name) => [name, String(number)] as const)
}

/** What one service has beside the session's environment: its own port as `PORT`, and what its setup says. */
export const ofService = (service: Setup.Service, ports: Readonly<Record<string, number>>): Variables => {
  const [port] = service.ports
  return {
    ...(port === undefined ? {} : withPort(Slots.numberOf(ports, port.name))),
    ...Object.fromEntries(service.ports.flatMap((port) => variablesOf(port, ports))),
    ...service.env
  }
}

/** As one set, for a command. */
export const all = ({ secrets, variables }: Environment): Variables => ({ ...variables, ...secrets })

const save = `
umask 077
file=$SANDBOX_RUN_DIR/$1
cat >"$file.new" && mv -f "$file.new" "$file" && printf %s "$file"
`

/** Keeps both files, and answers where the one without secrets is. */
export const write = Effect.fnUntraced(function* (backend: Backend, ref: InstanceRef, environment: Environment) {
  const what = "writing the environment"
  const file = (name: string, variables: Variables) =>
    inBox.mustRun(backend, ref, what, { script: save, args: [name], stdin: Dotenv.format(variables) })
  yield* file(secretsFile, environment.secrets)
  return yield* file(variablesFile, environment.variables)
})

/** Below `$SANDBOX_RUN_DIR`; written whenever a session is brought up. */
export const variablesFile = "env"
const secretsFile = "secrets"

const separator = "\u0001sandbox\u0001"

/** The files one after the other, each followed by the separator; one that is not there is empty. */
const load = `
for name; do
  cat "$SANDBOX_RUN_DIR/$name" 2>/dev/null
  printf '\\001sandbox\\001'
done
`

/** What a session's box has, of whoever wrote it. Empty for a session without a setup. */
export const read: (
  backend: Backend,
  row: Session
) => Effect.Effect<Environment, Effect.Error<ReturnType<typeof inBox.mustRun>>> = Effect.fnUntraced(
  function* (backend, row) {
    if (row.setup === null || row.instance === null) return { variables: generated(row), secrets: {} }
    const text = yield* inBox.mustRun(backend, row.instance, "reading the environment", {
      script: load,
      args: [variablesFile, secretsFile]
    })
    const [variables = "", secrets = ""] = text.split(separator)
    return { variables: { ...Dotenv.parse(variables), ...generated(row) }, secrets: Dotenv.parse(secrets) }
  }
)
