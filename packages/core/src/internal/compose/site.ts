/** Where the compose services of a session stand: on this host's own ports, or in the network of a box. */
import { Effect } from "effect"
import type { Held } from "../../Claim.ts"
import type { Backend } from "../../Provisioners.ts"
import * as SandboxError from "../../SandboxError.ts"
import type { InstanceRef } from "../../Session.ts"
import { copy } from "../boxCheckout/copy.ts"
import * as record from "./record.ts"
import * as tool from "./tool.ts"

export interface Site {
  /** The compose files and all that they refer to, on this host. */
  readonly checkout: string
  /** The network of the box, which sees the services by their names in it; without one they have ports of this host. */
  readonly network?: string | undefined
  /** Whether the box keeps what runs in it from this host. */
  readonly isolated: boolean
}

/** Whether there can be services beside the boxes of a provider. */
export const check = Effect.fnUntraced(function* ({
  capabilities,
  hostPorts,
  name
}: Pick<Backend, "capabilities" | "hostPorts" | "name">) {
  const isHere = hostPorts && capabilities.includes("workspace")
  const isBox = capabilities.includes("network") && capabilities.includes("files")
  if (!isHere && !isBox) return yield* notBeside(name)
})

/** Finds it; of a checkout that only the box can see, a copy is made and kept. */
export const find = Effect.fnUntraced(function* (held: Held, backend: Backend, ref: InstanceRef) {
  const { id, workspacePath } = yield* held.row
  const isolated = backend.isolation !== "none"
  if (!backend.capabilities.includes("network")) {
    return workspacePath === null
      ? yield* notBeside(backend.name)
      : ({ checkout: workspacePath, isolated } satisfies Site)
  }
  const { engine, name: network } = yield* backend.network(ref)
  const here = yield* tool.engine(id)
  if (here !== engine) return yield* otherEngine(backend.name, { engine, here })
  const checkout = workspacePath ?? (yield* copied(id, backend, ref))
  return { checkout, isolated, network } satisfies Site
})

const copied = Effect.fnUntraced(function* (session: string, backend: Backend, ref: InstanceRef) {
  const made = yield* copy(backend, ref)
  if (made === undefined) return yield* noCheckout
  return yield* record.keep(session, made.directory)
}, Effect.scoped)

const noCheckout = SandboxError.make("ERR_WORKSPACE_FAILED", {
  message: "the box has no checkout, and so no compose file",
  nextStep: "run the command again",
  details: { field: "compose" }
})

const notBeside = (provider: string) =>
  SandboxError.make("ERR_UNSUPPORTED", {
    message: `compose services cannot stand beside a box of provider ${provider}`,
    nextStep: "use provider local or docker, or leave `compose` out",
    details: { provider, capability: "compose", field: "compose" }
  })

const otherEngine = (provider: string, { engine, here }: { readonly engine: string; readonly here: string }) =>
  SandboxError.make("ERR_UNSUPPORTED", {
    message: `the boxes of provider ${provider} are on another Docker engine than the one that the docker command asks`,
    nextStep: "make DOCKER_HOST what the provider's `host` option says, and try again",
    details: { provider, field: "compose", engine, answers: here }
  })
