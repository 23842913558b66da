/** Stands in for `@org/sandbox-provider-local` in the CLI under test. */
import real from "@org/sandbox-provider-local"
import { instrumented } from "./provider.ts"

export default instrumented(real)
