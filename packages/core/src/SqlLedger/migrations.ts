/** The schema of the ledger, one step per version, for SQLite and PostgreSQL alike. */
import { Effect } from "effect"
import { Migrator, SqlClient } from "effect/sql"

/**
 * When a session ended, for the recent window: never, as long as it is alive, claimed, or may have left a box.
 *
 * The same text stands in the index and in the query, or neither database would use the one for the other.
 */
export const endedAt = `CASE WHEN state NOT IN ('destroyed', 'failed') OR claim_token IS NOT NULL
  OR instance IS NOT NULL OR cleanup_required = 1 THEN 9223372036854775807 ELSE updated_at END`

const v1 = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  // identifiers are searched by prefix, which needs byte order
  const identifier = sql.onDialectOrElse({
    pg: () => sql.literal(`TEXT COLLATE "C"`),
    orElse: () => sql.literal("TEXT")
  })
  yield* sql`CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL)`
  yield* sql`
    CREATE TABLE sessions (
      id                 ${identifier} PRIMARY KEY,
      owner              TEXT    NOT NULL,
      name               TEXT    NOT NULL,
      reserved_name      TEXT,
      state              TEXT    NOT NULL,
      version            BIGINT  NOT NULL,
      provider           TEXT    NOT NULL,
      generation         INTEGER NOT NULL,
      spec               TEXT    NOT NULL,
      instance           TEXT,
      cleanup_required   INTEGER NOT NULL,
      claim_token        TEXT,
      claim_operation_id TEXT,
      claim_kind         TEXT,
      claim_phase        TEXT,
      claim_acquired_at  BIGINT,
      claim_renewed_at   BIGINT,
      claim_lease_until  BIGINT,
      claim_holder       TEXT,
      claim_prior        TEXT,
      export_lock        TEXT,
      health             TEXT,
      repository         TEXT    NOT NULL,
      branch             TEXT,
      work_branch        TEXT,
      commit_id          TEXT,
      workspace_path     TEXT,
      placement_scope    TEXT,
      slot               INTEGER,
      last_error         TEXT,
      expires_at         BIGINT,
      created_at         BIGINT  NOT NULL,
      updated_at         BIGINT  NOT NULL,
      ready_at           BIGINT,
      stopped_at         BIGINT,
      persisted_at       BIGINT,
      destroyed_at       BIGINT
    )`
  // NULL never equals NULL in a unique index: released names and slots do not collide, in both databases
  yield* sql`CREATE UNIQUE INDEX sessions_name ON sessions (owner, reserved_name)`
  yield* sql`CREATE UNIQUE INDEX sessions_slot ON sessions (placement_scope, slot)`
  yield* sql`CREATE INDEX sessions_by_name ON sessions (owner, name)`
  yield* sql`CREATE INDEX sessions_window ON sessions (owner, (${sql.literal(endedAt)}))`
  yield* sql`
    CREATE TABLE operations (
      id                TEXT    PRIMARY KEY,
      session_id        TEXT    NOT NULL REFERENCES sessions (id),
      owner             TEXT    NOT NULL,
      verb              TEXT    NOT NULL,
      client_request_id TEXT,
      request_hash      TEXT    NOT NULL,
      attempt           INTEGER NOT NULL,
      status            TEXT    NOT NULL,
      result            TEXT,
      error             TEXT,
      created_at        BIGINT  NOT NULL,
      updated_at        BIGINT  NOT NULL
    )`
  yield* sql`CREATE UNIQUE INDEX operations_request ON operations (owner, verb, client_request_id)`
  yield* sql`CREATE INDEX operations_session ON operations (session_id, created_at)`
  yield* sql`
    CREATE TABLE events (
      session_id   TEXT    NOT NULL REFERENCES sessions (id),
      seq          INTEGER NOT NULL,
      operation_id TEXT    NOT NULL,
      type         TEXT    NOT NULL,
      data         TEXT    NOT NULL,
      at           BIGINT  NOT NULL,
      PRIMARY KEY (session_id, seq)
    )`
  yield* sql`
    CREATE TABLE intents (
      key        TEXT    PRIMARY KEY,
      session_id TEXT    NOT NULL REFERENCES sessions (id),
      generation INTEGER NOT NULL,
      provider   TEXT    NOT NULL,
      scope      TEXT    NOT NULL,
      name       TEXT    NOT NULL,
      status     TEXT    NOT NULL,
      deadline   BIGINT  NOT NULL,
      created_at BIGINT  NOT NULL
    )`
  yield* sql`CREATE INDEX intents_session ON intents (session_id, generation)`
  yield* sql`CREATE INDEX intents_open ON intents (created_at) WHERE status = 'open'`
  yield* sql`
    CREATE TABLE orphans (
      id           TEXT   PRIMARY KEY,
      session_id   TEXT   NOT NULL REFERENCES sessions (id),
      operation_id TEXT   NOT NULL,
      provider     TEXT   NOT NULL,
      scope        TEXT   NOT NULL,
      ref          TEXT,
      key          TEXT   NOT NULL,
      reason       TEXT   NOT NULL,
      created_at   BIGINT NOT NULL,
      resolved_at  BIGINT
    )`
  yield* sql`CREATE INDEX orphans_session ON orphans (session_id, created_at)`
  yield* sql`CREATE INDEX orphans_open ON orphans (created_at) WHERE resolved_at IS NULL`
  yield* sql`
    CREATE TABLE checkpoints (
      id           TEXT    PRIMARY KEY,
      session_id   TEXT    NOT NULL REFERENCES sessions (id),
      digest       TEXT    NOT NULL,
      bytes        BIGINT  NOT NULL,
      verified     INTEGER NOT NULL,
      compacted    INTEGER NOT NULL,
      persisted_at BIGINT  NOT NULL
    )`
  yield* sql`CREATE INDEX checkpoints_session ON checkpoints (session_id, persisted_at)`

  // history is append-only, and the database itself holds to that; deleting a whole session's history stays possible
  yield* sql.onDialectOrElse({
    pg: () =>
      Effect.gen(function* () {
        yield* sql`
          CREATE FUNCTION events_are_final() RETURNS trigger LANGUAGE plpgsql AS
          $$ BEGIN RAISE EXCEPTION 'events are append-only'; END $$`
        yield* sql`
          CREATE TRIGGER events_are_final BEFORE UPDATE ON events FOR EACH ROW EXECUTE FUNCTION events_are_final()`
      }),
    orElse: () =>
      sql`CREATE TRIGGER events_are_final BEFORE UPDATE ON events
        BEGIN SELECT RAISE(ABORT, 'events are append-only'); END`
  })
})

/** What a session runs beside its checkout, and the ports that this host gave it. */
const v2 = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql`ALTER TABLE sessions ADD COLUMN setup TEXT`
  yield* sql`ALTER TABLE sessions ADD COLUMN ports TEXT`
  yield* sql`ALTER TABLE sessions ADD COLUMN endpoint_url TEXT`
  // the row's `ports` say what is whose; this is what makes two sessions unable to have the same one
  yield* sql`
    CREATE TABLE ports (
      scope      TEXT    NOT NULL,
      port       INTEGER NOT NULL,
      session_id TEXT    NOT NULL REFERENCES sessions (id),
      PRIMARY KEY (scope, port)
    )`
  yield* sql`CREATE INDEX ports_session ON ports (session_id)`
})

/** What checkpoints hold beside the record, what is to be restored, when work was done, and where it went. */
const v3 = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql`ALTER TABLE sessions ADD COLUMN restore_from TEXT`
  yield* sql`ALTER TABLE sessions ADD COLUMN last_export TEXT`
  yield* sql`ALTER TABLE sessions ADD COLUMN completed_at BIGINT`
  yield* sql`ALTER TABLE checkpoints ADD COLUMN reason TEXT NOT NULL DEFAULT 'down'`
  yield* sql`ALTER TABLE checkpoints ADD COLUMN head TEXT`
  yield* sql`ALTER TABLE checkpoints ADD COLUMN fingerprint TEXT`
  yield* sql`ALTER TABLE checkpoints ADD COLUMN files INTEGER NOT NULL DEFAULT 0`
  // by which a write whose answer was lost is known again
  yield* sql`ALTER TABLE sessions ADD COLUMN last_write TEXT`
  yield* sql`ALTER TABLE operations ADD COLUMN settled_by TEXT`
})

/** On whose behalf a session was started, without a foreign key: a parent's record may go before its children. What boxes were left with. */
const v4 = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql`ALTER TABLE sessions ADD COLUMN parent_id TEXT`
  yield* sql`ALTER TABLE orphans ADD COLUMN checkpoint TEXT`
  yield* sql`ALTER TABLE orphans ADD COLUMN workspace_path TEXT`
})

/** The newest schema this program knows. */
export const schemaVersion = 4

/** Brings the database up to `schemaVersion`. Safe to run from several processes at once. */
export const migrate = Migrator.make({})({
  loader: Migrator.fromRecord({ "0001_ledger": v1, "0002_setup": v2, "0003_checkpoints": v3, "0004_parents": v4 }),
  table: "ledger_migrations"
})
