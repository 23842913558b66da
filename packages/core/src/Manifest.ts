/** What a checkpoint consists of: the document that its digest is the digest of. */
import { Result, Schema } from "effect"
import { StoredObject } from "./CheckpointStore.ts"
import { CheckpointReason } from "./Session.ts"

/** The work of a session: where it is described, and by what it can be told from other work. */
export const ManifestWork = Schema.Struct({
  /** A `Work` document, as an object of the checkpoint. */
  document: StoredObject,
  /** The commit that was checked out. */
  head: Schema.String,
  fingerprint: Schema.String,
  /** What it was captured with: it is by these that restored work can be compared. */
  include: Schema.Array(Schema.String),
  exclude: Schema.Array(Schema.String),
  /** Files, links and directories that are in no commit. */
  files: Schema.Int,
  /** Of everything that the document refers to. */
  bytes: Schema.Int
})

export type ManifestWork = typeof ManifestWork.Type

/** Names are those of the stored JSON. */
export const Manifest = Schema.Struct({
  format: Schema.Literal(1),
  id: Schema.String,
  session_id: Schema.String,
  owner: Schema.String,
  /** ISO 8601 in UTC; the same in the record and in the ledger. */
  persisted_at: Schema.String,
  reason: CheckpointReason,
  /** The session's record, as `SessionRecord` builds it. */
  record: StoredObject,
  /** None where the files could not be seen, or were not asked for. */
  work: Schema.NullOr(ManifestWork)
})
export type Manifest = typeof Manifest.Type

const Text = Schema.fromJsonString(Manifest)
const decodeText = Schema.decodeUnknownResult(Text)

export const encode = (manifest: Manifest): Uint8Array => new TextEncoder().encode(Schema.encodeSync(Text)(manifest))

/** The manifest, or a sentence about why these bytes are none. */
export const decode = (bytes: Uint8Array): Result.Result<Manifest, string> =>
  Result.mapError(decodeText(new TextDecoder().decode(bytes)), (error) => `it is no manifest: ${String(error)}`)
