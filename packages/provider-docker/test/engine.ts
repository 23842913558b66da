/** The provider on the engine of this machine, for tests. */

import { Directories } from "@org/sandbox-core/Host"
import { layerPlatform } from "@org/sandbox-core/node"
import * as DockerProvisioner from "@org/sandbox-provider-docker/DockerProvisioner"
import type { Options } from "@org/sandbox-provider-docker/Options"
import { Layer } from "effect"

export const layer = (options: Options = {}) =>
  DockerProvisioner.layer(options).pipe(
    Layer.provide(Layer.succeed(Directories)({ state: "/nowhere", cache: "/nowhere" })),
    Layer.provide(Layer.orDie(layerPlatform)),
    Layer.orDie
  )
