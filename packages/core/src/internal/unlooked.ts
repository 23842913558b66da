/** A service of a session that nobody has looked at: what the ledger says of it. */
import type { ServiceView } from "../Results.ts"

export const unlooked = (name: string, port: number | undefined): ServiceView => ({
  name,
  port: port ?? null,
  url: null,
  pid: null,
  exitCode: null,
  managed: true,
  healthy: null,
  listenerPid: null,
  wrongOwner: null
})
