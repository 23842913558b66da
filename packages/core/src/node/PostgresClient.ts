/**
 * `SqlClient` over PostgreSQL, where nobody waits for ever.
 *
 * - the server ends what a program leaves that was stopped or cut off: first its transaction, then the wait of whoever
 *   wants the same row, so that a lock which nobody holds any longer is met as free
 * - the client ends a connection on which nothing is heard: TCP itself goes on for a quarter of an hour where the network
 *   is parted, and for ever where something between them answers for a server that is gone
 */
import { connect, type Socket } from "node:net"
import * as PgClient from "@effect/sql-pg/PgClient"
import { Duration, type Layer, Redacted } from "effect"
import type { SqlClient, SqlError } from "effect/sql"

/** Each longer than the one before, or what is over soon would be given up. */
export interface Limits {
  /** After which the server ends a transaction that nobody goes on with. */
  readonly abandoned: Duration.Duration
  /** After which it refuses who waits for somebody else's lock. */
  readonly locked: Duration.Duration
  /** How long a connection may be without a byte in either direction; an idle one is made anew when it is needed. */
  readonly silent: Duration.Duration
}

const usual: Limits = {
  abandoned: Duration.seconds(5),
  locked: Duration.seconds(8),
  silent: Duration.seconds(12)
}

export const layer = (
  url: string,
  limits = usual
): Layer.Layer<PgClient.PgClient | SqlClient.SqlClient, SqlError.SqlError> =>
  PgClient.layer({
    url: Redacted.make(url),
    applicationName: "sandbox",
    connectTimeout: "5 seconds",
    startupParameters: {
      idle_in_transaction_session_timeout: String(Duration.toMillis(limits.abandoned)),
      lock_timeout: String(Duration.toMillis(limits.locked))
    },
    // one that is no URL is refused by the driver, in its words
    ...(URL.canParse(url) ? { stream: () => open(new URL(url), limits.silent) } : {})
  })

/** Where the driver would connect to, and in its way. */
const open = (url: URL, silence: Duration.Duration): Socket => {
  const { searchParams } = url
  const host = searchParams.get("host") ?? decodeURIComponent(url.hostname.replaceAll(/^\[|\]$/g, ""))
  const port = Number(searchParams.get("port") ?? url.port) || 5432
  const socket = connect(
    host.startsWith("/") ? { path: `${host}/.s.PGSQL.${port}` } : { host: host || "localhost", port, noDelay: true }
  )
  // an encrypted connection listens for the end of the socket below it, and not for why it ended
  socket.on("error", () => {})
  return socket.setTimeout(Duration.toMillis(silence), () =>
    socket.destroy(Object.assign(new Error(`nothing was heard for ${Duration.format(silence)}`), { code: "ETIMEDOUT" }))
  )
}
