/**
 * Writes the generated parts of the documents: docs/cli.md from the command's own help and the table of error codes, the
 * program in README.md from examples/quickstart, and from the schema of the configuration the keys in
 * docs/configuration.md and the JSON Schema for editors.
 *
 *   npm run docs [-- --check]
 */
import { execFileSync } from "node:child_process"
import { readFileSync, writeFileSync } from "node:fs"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { SandboxError } from "@org/sandbox-core"
import * as Configuration from "@org/sandbox-core/Configuration"
import { Effect, Layer, Option } from "effect"
import { CliConfig, CliOutput, Command, GlobalFlag, type HelpDoc } from "effect/cli"
import { variableOf } from "../packages/cli/src/config/environment.ts"
import { sandbox } from "../packages/cli/src/sandbox.ts"

const builtIns = CliConfig.layer({ builtIns: [GlobalFlag.Help, GlobalFlag.Version, GlobalFlag.Completions] })

/** The help of a verb, as the command itself describes it. */
const help = async (...path: ReadonlyArray<string>): Promise<HelpDoc.HelpDoc> => {
  let found: HelpDoc.HelpDoc | undefined
  const presenter = CliOutput.layerPresenter({
    present: (event) =>
      Effect.sync(() => {
        if (event._tag === "Help") found = event.helpDoc
      })
  })
  await Command.runWith(sandbox, { version: "" })([...path, "--help"]).pipe(
    Effect.provide(Layer.mergeAll(NodeServices.layer, builtIns, presenter)),
    Effect.runPromise
  )
  if (found === undefined) throw new Error(`sandbox ${path.join(" ")} has no help`)
  return found
}

const value = (type: string): string => (type === "boolean" ? "" : type.startsWith("<") ? ` ${type}` : ` <${type}>`)

/** Names of operands stand in angle brackets, which are markup outside code. */
const prose = (text: string): string => cell(text).replaceAll(/<(?=\w)/g, "\\<")

const cell = (text: string): string => text.replaceAll("|", "\\|")

const table = (header: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<string>>): string =>
  [header, header.map(() => "---"), ...rows].map((row) => `| ${row.join(" | ")} |`).join("\n")

const flags = (docs: ReadonlyArray<HelpDoc.FlagDoc>): string =>
  table(
    ["flag", "meaning"],
    docs.map(({ aliases, description, name, type }) => [
      cell(`\`${[`--${name}`, ...aliases].join(", ")}${value(type)}\``),
      prose(Option.getOrElse(description, () => ""))
    ])
  )

const operands = (docs: ReadonlyArray<HelpDoc.ArgDoc>): string =>
  table(
    ["argument", "meaning"],
    docs.map(({ description, name, required, variadic }) => [
      `\`${name}${variadic ? "…" : ""}\`${required ? "" : " (optional)"}`,
      prose(Option.getOrElse(description, () => ""))
    ])
  )

const verb = (path: ReadonlyArray<string>, doc: HelpDoc.HelpDoc): string =>
  [
    `### ${path.join(" ")}`,
    doc.description,
    `    ${doc.usage}`,
    ...(doc.args === undefined || doc.args.length === 0 ? [] : [operands(doc.args)]),
    ...(doc.flags.length === 0 ? [] : [flags(doc.flags)]),
    ...(doc.examples ?? []).map(({ command, description }) => `${description}:\n\n    ${command}`)
  ].join("\n\n")

/** A verb, and behind it those that stand below it. */
const verbs = async (...path: ReadonlyArray<string>): Promise<ReadonlyArray<string>> => {
  const doc = await help(...path)
  const below = (doc.subcommands ?? []).flatMap(({ commands }) => commands)
  return [verb(path, doc), ...(await Promise.all(below.map(({ name }) => verbs(...path, name)))).flat()]
}

const exits: ReadonlyArray<readonly [code: string, meaning: string]> = [
  ["0", "done, or there was nothing to do"],
  ["1", "refused; nothing has changed"],
  ["2", "failed; the ledger says what is true now"],
  ["3", "recovery is required; `sandbox status` names the command"],
  ["4", "`status` only: the session is not healthy"],
  ["130, 143, 129", "interrupted by SIGINT, SIGTERM or SIGHUP, and rolled back"],
  ["125", "`exec` and `shell` only: our own failure; every other code is the command's"]
]

const reference = async (): Promise<string> => {
  const root = await help()
  const groups = await Promise.all(
    (root.subcommands ?? []).map(async ({ commands, group }) => {
      const sections = await Promise.all(commands.map(({ name }) => verbs(name)))
      return [`## ${group ?? "Commands"}`, ...sections.flat()].join("\n\n")
    })
  )
  const codes = Object.entries(SandboxError.codes).map(([code, { exit, retryable }]) => [
    `\`${code}\``,
    exit === 130 ? "130, 143, 129" : String(exit),
    retryable ? "yes" : "no"
  ])
  return `${[
    "# The sandbox command",
    "Written by `npm run docs` from the command's own help; do not edit.",
    root.description,
    "stdout carries the result and nothing else; progress and warnings go to stderr. With `--json` the result is one object, also for a failure: `ok`, `error_code`, `cause`, `next_step`, `retryable`, `operation_id`, and where they are known `session_id`, `state`, `details`.",
    ...groups,
    "## Flags of every verb",
    flags([...root.flags, ...(root.globalFlags ?? [])]),
    "## Exit codes",
    table(["code", "meaning"], exits),
    "## Error codes",
    "Branch on the code, never on the text. *Retry* says whether the same request may succeed later without anybody changing it; a failure's own `retryable` is more exact.",
    table(["code", "exit", "retry"], codes)
  ].join("\n\n")}\n`
}

/** README.md with the program of examples/quickstart between its markers. */
const readme = (): string => {
  const text = readFileSync("README.md", "utf8")
  const program = readFileSync("examples/quickstart/main.ts", "utf8")
  const block = /(<!-- examples\/quickstart\/main\.ts -->\n)[\s\S]*?(<!-- end -->)/
  if (!block.test(text)) throw new Error("README.md has no place for examples/quickstart/main.ts")
  return text.replace(block, (_, open, close) => `${open}\`\`\`ts\n${program}\`\`\`\n${close}`)
}

/** A node of a JSON Schema, as far as its keys are listed. */
interface Node {
  readonly description?: string
  readonly default?: unknown
  readonly type?: string
  readonly enum?: ReadonlyArray<unknown>
  readonly properties?: Readonly<Record<string, Node>>
  readonly additionalProperties?: Node | boolean
  readonly items?: Node
  readonly anyOf?: ReadonlyArray<Node>
  readonly required?: ReadonlyArray<string>
}

const kind = (node: Node): string => {
  if (node.enum !== undefined) return node.enum.map((value) => `\`${String(value)}\``).join(", ")
  if (node.anyOf !== undefined) return [...new Set(node.anyOf.map(kind))].join(" or ")
  if (node.type === "array") return `list of ${node.items === undefined ? "anything" : kind(node.items)}`
  return (
    { object: "map", integer: "whole number", boolean: "true or false", string: "text" }[node.type ?? ""] ??
    node.type ??
    "anything"
  )
}

const variables = new Map(Configuration.scalars.map(({ path }) => [path.join("."), variableOf(path)]))

/** A row for every key, and one for every key in it. */
const keyRows = (node: Node, path: string): ReadonlyArray<ReadonlyArray<string>> => {
  const inside = [node, ...(node.anyOf ?? [])]
  return [
    ...inside.flatMap(({ properties = {}, required = [] }) =>
      Object.entries(properties).flatMap(([name, value]) => {
        const key = path === "" ? name : `${path}.${name}`
        const variable = variables.get(key)
        const fallback =
          value.default === undefined
            ? required.includes(name)
              ? "required"
              : ""
            : `\`${JSON.stringify(value.default)}\``
        const section = value.properties !== undefined && value.default === undefined
        return [
          [
            `\`${key}\``,
            section ? "section" : kind(value),
            section ? "" : fallback,
            prose(value.description ?? ""),
            variable === undefined ? "" : `\`${variable}\``
          ],
          ...keyRows(value, key)
        ]
      })
    ),
    ...inside.flatMap(({ items }) => (items === undefined ? [] : keyRows(items, `${path}[]`))),
    ...inside.flatMap(({ additionalProperties }) =>
      typeof additionalProperties === "object" ? keyRows(additionalProperties, `${path}.<name>`) : []
    )
  ]
}

const schema = Configuration.jsonSchema()

/** docs/configuration.md with the table of keys between its markers. */
const configuration = (): string => {
  const text = readFileSync("docs/configuration.md", "utf8")
  const block = /(<!-- keys -->\n)[\s\S]*?(<!-- end -->)/
  if (!block.test(text)) throw new Error("docs/configuration.md has no place for the keys")
  const rows = table(["key", "value", "default", "meaning", "variable"], keyRows(schema as Node, ""))
  return text.replace(block, (_, open, close) => `${open}\n${rows}\n\n${close}`)
}

/** Text as the formatter wants it. */
const formatted = (file: string, text: string): string =>
  execFileSync("node_modules/.bin/biome", ["check", "--write", "--stdin-file-path", file], {
    input: text,
    encoding: "utf8"
  })

const written = {
  "docs/cli.md": await reference(),
  "docs/configuration.md": configuration(),
  "packages/cli/schema/sandbox.schema.json": formatted(
    "packages/cli/schema/sandbox.schema.json",
    JSON.stringify(schema)
  ),
  "README.md": readme()
}
const current = (file: string): string => {
  try {
    return readFileSync(file, "utf8")
  } catch {
    return ""
  }
}
const stale = Object.entries(written).filter(([file, text]) => current(file) !== text)
for (const [file, text] of stale) {
  if (process.argv.includes("--check")) console.error(`${file} is stale; run: npm run docs`)
  else writeFileSync(file, text)
}
process.exitCode = process.argv.includes("--check") && stale.length > 0 ? 1 : 0
