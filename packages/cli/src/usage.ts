/** What is wrong with a command line, in the words of the output contract. */
import { SandboxError } from "@org/sandbox-core"
import type { CliError } from "effect/cli"

const suggestion = (suggestions: ReadonlyArray<string>): string =>
  suggestions.length === 0 ? "" : `; did you mean ${suggestions.join(" or ")}?`

const field = (error: CliError.NonShowHelpErrors): string | undefined => {
  switch (error._tag) {
    case "UnrecognizedOption":
    case "MissingOption":
    case "DuplicateOption":
    case "InvalidValue":
      return error.option
    case "MissingArgument":
      return error.argument
    case "UnknownSubcommand":
      return "command"
    default:
      return undefined
  }
}

const sentence = (error: CliError.NonShowHelpErrors): string => {
  switch (error._tag) {
    case "UnknownSubcommand":
      // the help of other tools
      return error.subcommand === "help"
        ? "there is no command help: it is the flag --help, of every command"
        : `there is no command ${error.subcommand}${suggestion(error.suggestions)}`
    case "UnrecognizedOption":
      return `there is no flag ${error.option}${suggestion(error.suggestions)}`
    case "MissingArgument":
      return `the argument <${error.argument}> is missing`
    case "MissingOption":
      return `the flag --${error.option} is missing`
    case "InvalidValue":
      return `${error.kind === "flag" ? "--" : ""}${error.option} cannot be ${JSON.stringify(error.value)}: ${error.expected}`
    case "UnexpectedArgument":
      return `too many arguments: ${error.arguments.join(" ")}`
    default:
      return error.message
  }
}

/** One error for everything that is wrong with a command line. */
export const invalid = (help: CliError.ShowHelp): SandboxError.SandboxError => {
  const path = help.commandPath.join(" ")
  const [first] = help.errors
  const named = first === undefined ? undefined : field(first)
  return SandboxError.make("ERR_INVALID_ARGUMENT", {
    message: help.errors.length === 0 ? "no command was given" : help.errors.map(sentence).join("; "),
    nextStep: `see \`${path} --help\``,
    ...(named === undefined ? {} : { details: { field: named } })
  })
}
