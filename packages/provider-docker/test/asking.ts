/** Asks the engine at the address it is given, as a process of its own, and prints what that fails with. */
import * as Address from "@org/sandbox-provider-docker/Address"
import * as DockerClient from "@org/sandbox-provider-docker/DockerClient"
import { classify } from "@org/sandbox-provider-docker/DockerError"
import * as Engine from "@org/sandbox-provider-docker/Engine"
import { Effect, Result } from "effect"

const address = Result.getOrThrow(Address.parse(process.argv[2] ?? "", false))

const { message, outcome, reason } = await Effect.runPromise(
  Engine.info.pipe(
    Effect.flip,
    Effect.map(classify("stop")),
    Effect.provide(DockerClient.layer({ address, tls: { verify: true } }))
  )
)
process.stdout.write(JSON.stringify([reason, outcome, message]))
