/**
 * The record of a session that `down` saves: who it is, what it worked on, and what happened to it.
 *
 * Building one is pure and deterministic: the same row, history and time give the same bytes, in every process.
 */
import { DateTime, Result } from "effect"
import type { Event, Session } from "./Session.ts"

interface Transition {
  readonly from: string | null
  readonly to: string
  readonly at: string
  readonly operation_id: string
}

interface Entry {
  readonly type: string
  readonly at: string
  readonly operation_id: string
  readonly data: unknown
}

/** What compaction left out, in numbers. */
export interface Compaction {
  readonly dropped_events: number
  readonly dropped_transitions: number
  readonly shortened_error: boolean
  readonly identity_only: boolean
}

interface Payload {
  readonly format: 1
  readonly identity: Readonly<Record<string, unknown>>
  readonly persisted_at: string
  readonly last_error: { readonly code: string; readonly message: string } | null
  readonly state_transitions: ReadonlyArray<Transition>
  readonly events: ReadonlyArray<Entry>
  readonly compacted: Compaction | null
}

export interface SessionRecord {
  readonly bytes: Uint8Array
  readonly compacted: Compaction | null
}

export interface TooLarge {
  /** Bytes of the smallest form. */
  readonly size: number
  readonly limit: number
}

const iso = (ms: number | null): string | null => (ms === null ? null : DateTime.formatIso(DateTime.makeUnsafe(ms)))

/** How many transitions at each end survive the first cut. */
const keptTransitions = 20
const keptErrorText = 256

/**
 * The record of a session at `persistedAt`, at most `limit` bytes.
 *
 * `history` is what is saved of the events, oldest first. When the record is too large it is compacted in passes, each
 * strictly smaller than the one before: events, the middle of the transitions, the text of the last error, and at last
 * everything but the identity with the first and the last transition.
 */
export const build = (options: {
  readonly session: Session
  readonly history: ReadonlyArray<Event>
  readonly persistedAt: number
  readonly limit: number
}): Result.Result<SessionRecord, TooLarge> => {
  const { history, limit, persistedAt, session } = options
  const transitions = history
    .filter((event) => event.type === "transition")
    .map((event) => ({
      from: event.data["from"] as string | null,
      to: event.data["to"] as string,
      at: iso(event.at)!,
      operation_id: event.operationId
    }))
  const events = history
    .filter((event) => event.type !== "transition")
    .map((event) => ({ type: event.type, at: iso(event.at)!, operation_id: event.operationId, data: event.data }))

  const whole: Payload = {
    format: 1,
    identity: {
      session_id: session.id,
      name: session.name,
      owner: session.owner,
      parent: session.parent,
      provider: session.provider,
      generation: session.generation,
      repository: session.repository,
      branch: session.branch,
      work_branch: session.workBranch,
      commit: session.commit,
      created_at: iso(session.createdAt),
      started_at: iso(session.readyAt),
      stopped_at: iso(session.stoppedAt)
    },
    persisted_at: iso(persistedAt)!,
    last_error:
      session.lastError === null ? null : { code: session.lastError.code, message: session.lastError.message },
    state_transitions: transitions,
    events,
    compacted: null
  }
  let smallest = encode(whole)
  if (smallest.length <= limit) return Result.succeed({ bytes: smallest, compacted: null })
  let payload = whole
  for (const pass of passes) {
    const next = pass(payload)
    const bytes = encode(next)
    if (bytes.length >= smallest.length) continue
    payload = next
    smallest = bytes
    if (bytes.length <= limit) return Result.succeed({ bytes, compacted: payload.compacted })
  }
  return Result.fail({ size: smallest.length, limit })
}

const encode = (payload: Payload): Uint8Array => new TextEncoder().encode(JSON.stringify(payload))

const untouched: Compaction = {
  dropped_events: 0,
  dropped_transitions: 0,
  shortened_error: false,
  identity_only: false
}

const ends = (transitions: ReadonlyArray<Transition>, kept: number): ReadonlyArray<Transition> =>
  transitions.length <= 2 * kept ? transitions : [...transitions.slice(0, kept), ...transitions.slice(-kept)]

const cutTransitions = (payload: Payload, kept: number): Payload => {
  const state_transitions = ends(payload.state_transitions, kept)
  const compacted = payload.compacted ?? untouched
  const dropped = payload.state_transitions.length - state_transitions.length
  return {
    ...payload,
    state_transitions,
    compacted: { ...compacted, dropped_transitions: compacted.dropped_transitions + dropped }
  }
}

const passes: ReadonlyArray<(payload: Payload) => Payload> = [
  (payload) => ({
    ...payload,
    events: [],
    compacted: { ...(payload.compacted ?? untouched), dropped_events: payload.events.length }
  }),
  (payload) => cutTransitions(payload, keptTransitions),
  (payload) =>
    payload.last_error === null
      ? payload
      : {
          ...payload,
          last_error: { ...payload.last_error, message: payload.last_error.message.slice(0, keptErrorText) },
          compacted: { ...(payload.compacted ?? untouched), shortened_error: true }
        },
  (payload) => {
    const cut = cutTransitions(payload, 1)
    return { ...cut, last_error: null, compacted: { ...(cut.compacted ?? untouched), identity_only: true } }
  }
]
