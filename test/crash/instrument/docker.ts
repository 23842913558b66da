/** Stands in for `@org/sandbox-provider-docker` in the CLI under test. */
import real from "@org/sandbox-provider-docker"
import { instrumented } from "./provider.ts"

export default instrumented(real)
