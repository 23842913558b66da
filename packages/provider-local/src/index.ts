/** Sandboxes on this host: git worktrees and process groups, with no isolation. */
import { defineProvider } from "@org/sandbox-core/Provisioner"
import { Schema } from "effect"
import * as LocalProvisioner from "./LocalProvisioner.ts"

export * as LocalProvisioner from "./LocalProvisioner.ts"

export default defineProvider({
  apiVersion: 1,
  name: "local",
  options: Schema.Struct({}),
  layer: () => LocalProvisioner.layer
})
