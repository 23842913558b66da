/** Sandboxes on a Docker engine: a container, a volume and a network for each session. */
import { defineProvider } from "@org/sandbox-core/Provisioner"
import * as DockerProvisioner from "./DockerProvisioner.ts"
import { Options } from "./Options.ts"

export * as DockerProvisioner from "./DockerProvisioner.ts"

export default defineProvider({
  apiVersion: 1,
  name: "docker",
  options: Options,
  layer: DockerProvisioner.layer
})
