/** The built-in providers. Each is loaded by the verbs that call it, when they call it. */
import type { Registration } from "@org/sandbox-core"

export const builtin: Readonly<Record<string, Registration.Registration>> = {
  local: { use: () => import("@org/sandbox-provider-local") }
}
