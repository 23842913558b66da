import { assert, describe, it } from "@effect/vitest"
import { CliError } from "effect/cli"
import { invalid } from "../src/usage.ts"

const path = ["sandbox", "up"]
const wrong = (...errors: ReadonlyArray<CliError.NonShowHelpErrors>) =>
  invalid(new CliError.ShowHelp({ commandPath: path, errors }))

describe("a wrong command line", () => {
  it("is one error that names every problem, the first one's field, and the help of that command", () => {
    const error = wrong(
      new CliError.UnrecognizedOption({ option: "--brnch", suggestions: ["--branch"], command: path }),
      new CliError.MissingArgument({ argument: "session" })
    )
    assert.deepInclude(error, {
      code: "ERR_INVALID_ARGUMENT",
      message: "there is no flag --brnch; did you mean --branch?; the argument <session> is missing",
      nextStep: "see `sandbox up --help`",
      retryable: false,
      operationId: null,
      details: { field: "--brnch" }
    })
  })

  it("without a command says so, and names no field", () => {
    const error = wrong()
    assert.strictEqual(error.message, "no command was given")
    assert.isFalse("details" in error)
  })

  it("says each kind of problem in a sentence", () => {
    const value = { option: "since", value: "soon", expected: "a duration" }
    const cases: ReadonlyArray<readonly [CliError.NonShowHelpErrors, string, string | undefined]> = [
      [
        new CliError.UnknownSubcommand({ subcommand: "upp", parent: ["sandbox"], suggestions: ["up", "ls"] }),
        "there is no command upp; did you mean up or ls?",
        "command"
      ],
      [new CliError.MissingOption({ option: "provider" }), "the flag --provider is missing", "provider"],
      [new CliError.InvalidValue({ ...value, kind: "flag" }), '--since cannot be "soon": a duration', "since"],
      [new CliError.InvalidValue({ ...value, kind: "argument" }), 'since cannot be "soon": a duration', "since"]
    ]
    for (const [problem, message, field] of cases) {
      const error = wrong(problem)
      assert.strictEqual(error.message, message)
      assert.deepEqual(error.details, { field })
    }
  })
})
