/** Verbs of earlier tools, refused with the exact command that replaces them. Nothing is opened for them. */
import { SandboxError } from "@org/sandbox-core"

const quote = (word: string): string => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`)

/** `launch NAME --repo REPOSITORY` names things the other way round. */
const launch = (args: ReadonlyArray<string>): ReadonlyArray<string> => {
  const rest = [...args]
  const at = rest.findIndex((arg) => arg === "--repo" || arg.startsWith("--repo="))
  if (at < 0) return ["up", ...rest]
  const [flag = "", value = ""] = rest.splice(at, rest[at] === "--repo" ? 2 : 1)
  const repository = flag === "--repo" ? value : flag.slice("--repo=".length)
  const name = rest.findIndex((arg) => !arg.startsWith("-"))
  return ["up", repository, ...(name < 0 ? [] : ["--name", ...rest.splice(name, 1)]), ...rest]
}

const replacements: Readonly<Record<string, (args: ReadonlyArray<string>) => ReadonlyArray<string>>> = {
  create: (args) => ["up", ...args],
  launch,
  teardown: (args) => ["destroy", ...args],
  shutdown: (args) => ["down", "--all", ...args],
  flush: (args) => ["gc", ...args.filter((arg) => arg !== "--yes")]
}

/** The refusal of a replaced verb, or nothing for any other command line. */
export const replaced = (argv: ReadonlyArray<string>): SandboxError.SandboxError | undefined => {
  const [verb = "", ...args] = argv
  const replacement = Object.hasOwn(replacements, verb) ? replacements[verb] : undefined
  if (replacement === undefined) return undefined
  const command = ["sandbox", ...replacement(args)].map(quote).join(" ")
  return SandboxError.make("ERR_COMMAND_REPLACED", {
    message: `sandbox has no ${verb}: it is called something else here`,
    nextStep: command,
    details: { command }
  })
}
