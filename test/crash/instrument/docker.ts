/** Stands in for `@org/sandbox-provider-docker` in the CLI under test. */
import { defineProvider } from "@org/sandbox-core/Provisioner"
import real from "@org/sandbox-provider-docker"
import { instrumented } from "./provider.ts"

export default defineProvider({ ...real, layer: (options) => instrumented("docker", real.layer(options)) })
