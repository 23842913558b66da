import { Effect } from "effect"
import { Command } from "effect/cli"
import * as Output from "../Output.ts"
import { root } from "../root.ts"
import { version as number } from "../version.ts"

export const version = Command.make("version", {}, () =>
  Effect.gen(function* () {
    const { json } = yield* root
    yield* Output.result(
      {
        name: "sandbox",
        version: number,
        node: process.versions.node,
        platform: `${process.platform}-${process.arch}`
      },
      { json, human: ({ name, node, platform, version }) => `${name} ${version} (node ${node}, ${platform})` }
    )
  })
).pipe(
  Command.withDescription("The version of this program and of the Node that runs it. Nothing is opened for it."),
  Command.withShortDescription("Print versions")
)
