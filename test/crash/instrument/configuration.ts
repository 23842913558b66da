/** Stands in for `@org/sandbox-core/Configuration` in the CLI under test: what a configuration says of times is not heeded. */
import * as Real from "@org/sandbox-core/Configuration"
import { Layer } from "effect"
import { hurried } from "./hurried.ts"

export * from "@org/sandbox-core/Configuration"

export const settings: typeof Real.settings = (configuration) => Layer.merge(Real.settings(configuration), hurried)
