/**
 * Writes the generated parts of the documents: docs/cli.md from the command's own help and the table of error codes, and
 * the program in README.md from examples/quickstart.
 *
 *   npm run docs [-- --check]
 */
import { readFileSync, writeFileSync } from "node:fs"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { SandboxError } from "@org/sandbox-core"
import { Effect, Layer, Option } from "effect"
import { CliConfig, CliOutput, Command, GlobalFlag, type HelpDoc } from "effect/cli"
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

const verb = (name: string, doc: HelpDoc.HelpDoc): string =>
  [
    `### ${name}`,
    doc.description,
    `    ${doc.usage}`,
    ...(doc.args === undefined || doc.args.length === 0 ? [] : [operands(doc.args)]),
    ...(doc.flags.length === 0 ? [] : [flags(doc.flags)]),
    ...(doc.examples ?? []).map(({ command, description }) => `${description}:\n\n    ${command}`)
  ].join("\n\n")

const exits: ReadonlyArray<readonly [code: string, meaning: string]> = [
  ["0", "done, or there was nothing to do"],
  ["1", "refused; nothing has changed"],
  ["2", "failed; the ledger says what is true now"],
  ["3", "recovery is required; `sandbox status` names the command"],
  ["4", "`status` only: the session is not healthy"],
  ["130, 143, 129", "interrupted by SIGINT, SIGTERM or SIGHUP, and rolled back"],
  ["125", "`exec` only: our own failure; every other code is the command's"]
]

const reference = async (): Promise<string> => {
  const root = await help()
  const groups = await Promise.all(
    (root.subcommands ?? []).map(async ({ commands, group }) => {
      const sections = await Promise.all(commands.map(async ({ name }) => verb(name, await help(name))))
      return [`## ${group ?? "Commands"}`, ...sections].join("\n\n")
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

const written = { "docs/cli.md": await reference(), "README.md": readme() }
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
