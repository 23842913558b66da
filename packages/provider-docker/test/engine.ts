/** The provider on the engine of this machine, for tests. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Directories } from "@org/sandbox-core/Host"
import { layerPlatform } from "@org/sandbox-core/node"
import * as DockerProvisioner from "@org/sandbox-provider-docker/DockerProvisioner"
import type { Options } from "@org/sandbox-provider-docker/Options"
import { Effect, Layer } from "effect"

const directories = Layer.effect(
  Directories,
  Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "engine-"))),
    (place) => Effect.sync(() => rmSync(place, { recursive: true, force: true }))
  ).pipe(Effect.map((place) => ({ state: join(place, "state"), cache: join(place, "cache") })))
)

export const layer = (options: Options = {}) =>
  DockerProvisioner.layer(options).pipe(
    Layer.provide(directories),
    Layer.provide(Layer.orDie(layerPlatform)),
    Layer.orDie
  )
