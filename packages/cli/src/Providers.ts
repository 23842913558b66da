/** The built-in providers. Each is loaded by the verbs that call it, when they call it. */
import type { Registration } from "@org/sandbox-core"

/** A provider that needs no configuration, and what is known of it before it is loaded. */
export interface Builtin extends Registration.Registration {
  readonly isolation: "none" | "container" | "vm"
}

export const builtin: Readonly<Record<string, Builtin>> = {
  docker: { use: () => import("@org/sandbox-provider-docker"), isolation: "container" },
  local: { use: () => import("@org/sandbox-provider-local"), isolation: "none" }
}
