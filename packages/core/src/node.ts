/**
 * Batteries included: everything core needs on a Node process, with the ledger and the checkpoints below the user's
 * state directory.
 */
import { join } from "node:path"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Config, Effect, type FileSystem, Layer, Option, type Path } from "effect"
import type { ChildProcessSpawner } from "effect/process"
import type { CheckpointStore } from "./CheckpointStore.ts"
import { GitCredentials } from "./Git.ts"
import type { Hasher } from "./Hasher.ts"
import { Directories, Host } from "./Host.ts"
import type { Ids } from "./Ids.ts"
import type { Ledger } from "./Ledger.ts"
import * as FileCheckpointStore from "./node/FileCheckpointStore.ts"
import * as NodeHost from "./node/NodeHost.ts"
import * as NodeLedger from "./node/NodeLedger.ts"
import * as NodePorts from "./node/NodePorts.ts"
import * as NodeProcesses from "./node/NodeProcesses.ts"
import * as NodeYaml from "./node/NodeYaml.ts"
import type { Ports } from "./Ports.ts"
import { Principal } from "./Principal.ts"
import type { Processes } from "./Processes.ts"
import * as SandboxError from "./SandboxError.ts"

/** What a Node process offers: processes, ports, files, identity of host and process, random ids, hashing, directories. */
export type Platform =
  | FileSystem.FileSystem
  | Path.Path
  | ChildProcessSpawner.ChildProcessSpawner
  | Host
  | Processes
  | Ports
  | Directories
  | Ids
  | Hasher

/** `GITHUB_TOKEN`, for repositories on github.com; it reaches git alone. */
const credentials: Layer.Layer<never> = Layer.effect(
  GitCredentials,
  Effect.orDie(Effect.option(Config.Redacted("GITHUB_TOKEN")))
)

/** The platform ports on Node. */
export const layerPlatform: Layer.Layer<Platform, SandboxError.SandboxError> = Layer.mergeAll(
  NodeServices.layer,
  credentials,
  NodeHost.layerHost,
  NodeProcesses.layer,
  NodePorts.layer,
  NodeYaml.layer,
  NodeHost.layerDirectories,
  NodeHost.layerIds,
  NodeHost.layerHasher
)

/** Checkpoints below the user's state directory. */
export const layerCheckpoints: Layer.Layer<CheckpointStore, never, Host | Directories> = Layer.unwrap(
  Effect.map(Directories, ({ state }) => FileCheckpointStore.layer(join(state, "checkpoints")))
)

export interface NodeOptions {
  /** A file's path or a `postgres://` URL; `SANDBOX_LEDGER`, or `ledger.db` in the state directory, when absent. */
  readonly ledger?: string | undefined
  /** Whose sessions; `SANDBOX_PRINCIPAL_ID`, or the operating system's user, when absent. */
  readonly principal?: string | undefined
}

/** Platform, ledger, checkpoint store and principal: all that the programs need beside providers. */
export const layer = (
  options: NodeOptions = {}
): Layer.Layer<Platform | Ledger | CheckpointStore | Principal, SandboxError.SandboxError> =>
  Layer.unwrap(
    Effect.gen(function* () {
      const { state } = yield* Directories
      const location =
        options.ledger ?? Option.getOrElse(yield* setting("SANDBOX_LEDGER"), () => join(state, "ledger.db"))
      const named = options.principal ?? Option.getOrUndefined(yield* setting("SANDBOX_PRINCIPAL_ID"))
      if (named === undefined && NodeLedger.isPostgres(location)) {
        return yield* SandboxError.make("ERR_INVALID_ARGUMENT", {
          message: "a shared ledger needs to know whose sessions are meant: no principal was given",
          nextStep: "pass --principal or set SANDBOX_PRINCIPAL_ID",
          details: { field: "principal" }
        })
      }
      return Layer.mergeAll(
        NodeLedger.layer(location),
        layerCheckpoints,
        Layer.succeed(Principal)(named ?? (yield* Host).user)
      )
    })
  ).pipe(Layer.provideMerge(layerPlatform))

const setting = (name: string) => Effect.orDie(Effect.option(Config.NonEmptyString(name)))
