/** A sandbox.yaml with comments, from what was detected. */
import { parse } from "yaml"
import { type Detected, sure } from "./detect.ts"
import type { Suggestion } from "./Finding.ts"

/** How far apart the ports of services are, so that slots and search never meet. */
const apart = 100

/** Text that YAML reads as the very same text, also YAML 1.1. */
const text = (value: string): string =>
  /^[A-Za-z0-9_./][\w ./=-]*$/.test(value) &&
  !/^(y|yes|n|no|on|off|[\d_.]+)$/i.test(value) &&
  !/ $/.test(value) &&
  parse(value) === value
    ? value
    : JSON.stringify(value)

const service = (
  { command, health, name, port, portEnv }: Suggestion,
  base: number | undefined
): ReadonlyArray<string> => [
  `  - name: ${text(name)}`,
  `    command: ${text(command)}`,
  ...(port === undefined || base === undefined
    ? []
    : [
        `    port: ${base} # of slot 0; the first session listens on ${base + 1}`,
        ...(portEnv === undefined ? [] : [`    port_env: ${portEnv}`])
      ]),
  ...(health === undefined ? [] : [`    health: ${text(health)} # works once a GET of it answers`])
]

/** Distinct names, as the file wants them. */
const distinct = (services: ReadonlyArray<Suggestion>): ReadonlyArray<Suggestion> =>
  services.filter(({ name }, index) => services.findIndex((other) => other.name === name) === index)

export const write = (detected: Detected, provider: string): string => {
  const services = distinct(detected.services)
  const chosen = services.filter(({ confidence }) => confidence >= sure)
  const only = chosen.length === 0 ? services : []
  const taken: Array<number> = []
  const base = ({ port }: Suggestion): number | undefined => {
    if (port === undefined) return undefined
    let free = port
    while (taken.some((other) => Math.abs(other - free) < apart)) free += apart
    taken.push(free)
    return free
  }
  const commented = (lines: ReadonlyArray<string>) => lines.map((line) => `# ${line}`)
  const example: Suggestion = {
    name: "web",
    command: "your-server --port $PORT",
    port: 3000,
    portEnv: "PORT",
    confidence: 0
  }
  return `${[
    "# How a sandbox of this repository is made. Every key: docs/configuration.md, or `sandbox validate --json`.",
    "",
    "# Where sessions run. `local` does not isolate: commands run on this machine, as you.",
    `provider: ${text(provider)}`,
    "",
    "# What runs beside the checkout. Each session has ports of its own: port + slot.",
    ...(chosen.length > 0
      ? ["services:", ...chosen.flatMap((suggestion) => service(suggestion, base(suggestion)))]
      : commented([
          "services:",
          ...(only.length > 0 ? only : [example]).flatMap((suggestion) => service(suggestion, base(suggestion)))
        ])),
    "",
    "# Commands at the turns of a session's life.",
    ...(detected.prepare === undefined
      ? commented(["hooks:", "  pre_spawn: make setup # in the checkout, before services start", "  timeout_s: 600"])
      : [
          "hooks:",
          `  pre_spawn: ${text(detected.prepare)} # in the checkout, before services start`,
          "  timeout_s: 600"
        ]),
    "",
    "# Files of this repository that git does not carry.",
    ...(detected.inherit.length === 0
      ? commented(["inherit_env: [.env]"])
      : ["inherit_env:", ...detected.inherit.map((file) => `  - ${text(file)}`)]),
    "",
    "# Variables of everything in the box.",
    ...commented(["env:", "  LOG_LEVEL: debug"]),
    "",
    "# Values that a session gets and no record keeps.",
    ...commented(["secrets:", "  - name: API_TOKEN", "    from: env:API_TOKEN"])
  ].join("\n")}\n`
}
