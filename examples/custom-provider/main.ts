/**
 * A program over a provider that is not built in: `node main.ts <repository> <root>`.
 *
 * The programs are Effects; what they need is the Node layer and the providers, by the names the program gives them.
 */
import { destroy, exec, Registration, up } from "@org/sandbox-core"
import * as Node from "@org/sandbox-core/node"
import { Console, Effect, Layer, Stream } from "effect"

const [repository = ".", root = "boxes"] = process.argv.slice(2)

const providers = Registration.layerAll({
  folders: { use: () => import("./provider.ts"), options: { root } }
})

const program = Effect.gen(function* () {
  const session = yield* up({ repository, provider: "folders", name: "folders-example" })
  yield* Console.log(`${session.name} is ${session.state} on ${session.provider}, branch ${session.workBranch}`)

  const output = yield* exec({ session: session.sessionId, argv: ["git", "log", "-1", "--format=%s"] }).pipe(
    Effect.flatMap((command) => Stream.mkString(Stream.decodeText(Stream.map(command.output, ({ bytes }) => bytes)))),
    Effect.scoped
  )
  yield* Console.log(`its last commit says: ${output.trim()}`)

  // a session in use is halted and saved before it is removed
  const gone = yield* destroy({ session: session.sessionId, force: true })
  yield* Console.log(`${session.name} is ${gone.state}`)
})

await Effect.runPromise(program.pipe(Effect.provide(providers.pipe(Layer.provideMerge(Node.layer())))))
