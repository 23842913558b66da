/** Answers for a person: short, aligned, and with the command that goes on from there. */
import type { Results } from "@org/sandbox-core"

type SessionView = Results.SessionView

/** Columns padded to their widest cell. */
export const table = (rows: ReadonlyArray<ReadonlyArray<string>>): string => {
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? []
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd()
    )
    .join("\n")
}

/** Labels and values, one a line; what is null is left out. */
export const facts = (pairs: ReadonlyArray<readonly [string, string | null | undefined]>): string =>
  table(pairs.flatMap(([label, value]) => (value === null || value === undefined ? [] : [[`  ${label}`, value]])))

/** A duration in its largest unit. */
export const age = (since: string, now: number): string => {
  const s = Math.max(0, Math.floor((now - Date.parse(since)) / 1000))
  if (s < 60) return `${s}s`
  if (s < 3600) return `${Math.floor(s / 60)}m`
  return s < 86_400 ? `${Math.floor(s / 3600)}h` : `${Math.floor(s / 86_400)}d`
}

const short = (commit: string | null): string | null => (commit === null ? null : commit.slice(0, 12))

/** `provisioning (pending up, 12 s)`, `stopping (stale)`. */
export const state = (session: Pick<SessionView, "state" | "claim">): string => {
  const { claim } = session
  if (claim === null) return session.state
  return claim.stale ? `${session.state} (stale)` : `${session.state} (pending ${claim.kind}, ${claim.ageS} s)`
}

export const next = ({ command, reason }: Results.Recovery): string => `next: ${command}  (${reason})`

/** `app  switching (switch: capture, 12 s)`, for whoever follows. */
export const moving = ({
  claim,
  health,
  name,
  state
}: Pick<SessionView, "claim" | "health" | "name" | "state">): string => {
  if (claim !== null)
    return `${name}  ${state} (${claim.kind}: ${claim.phase}, ${claim.stale ? "stale" : `${claim.ageS} s`})`
  return `${name}  ${state}${health === null || health.status === "healthy" ? "" : ` (${health.status})`}`
}

const branch = (session: Pick<SessionView, "branch" | "workBranch">): string =>
  session.workBranch !== null && session.workBranch !== session.branch
    ? `${session.branch} (worked on as ${session.workBranch})`
    : (session.branch ?? "-")

/** `web 3001, api 4001`. */
const ports = ({ ports }: Pick<SessionView, "ports">): string | null =>
  Object.keys(ports).length === 0
    ? null
    : Object.entries(ports)
        .map(([name, port]) => `${name} ${port}`)
        .join(", ")

export const sessions = (result: Results.ListResult, now: number): string => {
  if (result.sessions.length === 0)
    return "No sessions. Make one: sandbox up <repository> --branch <branch> --provider local"
  const header = ["NAME", "STATE", "PROVIDER", "BRANCH", "AGE", "ID"]
  const rows = result.sessions.map((session) => [
    session.name,
    state(session),
    session.provider,
    session.workBranch ?? session.branch ?? "-",
    age(session.createdAt, now),
    session.sessionId
  ])
  const hints = result.sessions.flatMap(({ claim, name, recovery }) =>
    recovery === null || (claim !== null && !claim.stale) ? [] : [`${name}: ${recovery.command}  (${recovery.reason})`]
  )
  return [table([header, ...rows]), ...(hints.length === 0 ? [] : ["", ...hints])].join("\n")
}

/** `web  http://127.0.0.1:3001  works`, one a line. */
const services = (views: Results.StatusResult["services"]): string =>
  table(
    views.map((view) => [
      `  ${view.name}`,
      view.url ?? (view.port === null ? "" : `port ${view.port}`),
      condition(view)
    ])
  )

const condition = ({ exitCode, healthy, listenerPid, wrongOwner }: Results.ServiceView): string => {
  if (wrongOwner === true) return `its port is taken${listenerPid === null ? "" : ` by process ${listenerPid}`}`
  if (healthy === null) return ""
  if (healthy) return exitCode === null ? "works" : "is done"
  return exitCode === null ? "does not work" : `ended with exit code ${exitCode}`
}

/** Bytes in the unit that keeps them short: `17 B`, `4.2 MB`. */
export const size = (bytes: number): string => {
  const units = ["B", "kB", "MB", "GB", "TB"]
  const unit = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log10(Math.max(1, bytes)) / 3)))
  return unit === 0 ? `${bytes} B` : `${(bytes / 1000 ** unit).toFixed(1)} ${units[unit]}`
}

/** What a checkpoint holds. */
export const contents = ({ files, head }: Results.CheckpointView): string =>
  head === null ? "the record alone" : `${head.slice(0, 12)}${files === 0 ? "" : ` and ${files} changed`}`

const saved = (checkpoint: Results.CheckpointView): string =>
  `${checkpoint.persistedAt}, ${contents(checkpoint)}, as ${checkpoint.id}`

const exported = ({ commit, exportedAt, target, to }: Results.ExportView): string =>
  `${exportedAt}, ${commit.slice(0, 12)} as ${to} to ${target}`

export const session = (view: Results.StatusResult): string =>
  [
    `${view.name}  ${state(view)}`,
    facts([
      ["id", view.sessionId],
      ["owner", view.owner],
      ["parent", view.parent],
      ["provider", view.provider],
      ["repository", view.repository],
      ["branch", branch(view)],
      ["commit", short(view.targetCommitSha)],
      ["worktree", view.worktreePath],
      ["slot", view.slot === null ? null : String(view.slot)],
      ["url", view.endpointUrl],
      ["ports", ports(view)],
      ["health", view.health === null ? null : `${view.health.status}, seen ${view.health.observedAt}`],
      ["created", view.createdAt],
      ["ready", view.readyAt],
      ["completed", view.completedAt],
      ["stopped", view.stoppedAt],
      ["saved", view.checkpoint === null ? view.persistedAt : saved(view.checkpoint)],
      ["exported", view.lastExport === null ? null : exported(view.lastExport)],
      ["halts at", view.expiresAt],
      ["destroyed", view.destroyedAt],
      ["last error", view.lastError === null ? null : `${view.lastError.errorCode}: ${view.lastError.cause}`]
    ]),
    ...(view.services.length === 0 ? [] : [services(view.services)]),
    ...(view.recovery === null ? [] : [next(view.recovery)])
  ].join("\n")

export const up = (result: Results.UpResult | Results.ResumeResult): string =>
  [
    `${result.name}  ${result.state}${result.replayed === true ? " (replayed)" : "already" in result ? " (already)" : ""}`,
    facts([
      ["id", result.sessionId],
      ["provider", result.provider],
      ["branch", branch(result)],
      ["commit", short(result.targetCommitSha)],
      ["worktree", result.worktreePath],
      ["url", result.endpointUrl],
      [
        "password",
        result.passwordEnv === null ? null : `${result.passwordEnv} in \`sandbox env ${result.name} --show-secrets\``
      ],
      ["ports", ports(result)]
    ]),
    `next: sandbox shell ${result.name}`
  ].join("\n")

export const down = (result: Results.DownResult): string =>
  result.state === "destroyed"
    ? `${result.name}  destroyed`
    : [
        `${result.name}  ${result.state}${result.already === true ? " (already)" : ""}`,
        ...(result.checkpoint === null
          ? []
          : [
              facts([
                ["id", result.sessionId],
                ["saved", result.persistedAt],
                ["checkpoint", result.checkpoint.id],
                ["holds", contents(result.checkpoint)],
                ["size", size(result.checkpoint.bytes)]
              ])
            ]),
        `next: sandbox resume ${result.name}`
      ].join("\n")

export const destroyed = (result: Results.DestroyResult): string =>
  [
    `${result.name}  destroyed${result.already === true ? " (already)" : result.forgotten === true ? " (its box was given up, not removed)" : ""}`,
    ...(result.checkpoint === null
      ? []
      : [
          facts([["work kept", saved(result.checkpoint)]]),
          `next: sandbox up --from-checkpoint ${result.checkpoint.id} --provider ${result.provider}`
        ])
  ].join("\n")

export const history = (result: Results.HistoryResult): string =>
  [
    `${result.name}  ${result.state}  ${result.sessionId}`,
    "",
    table([
      ["WHEN", "WHAT", "", "OPERATION"],
      ...result.events.map((event) => [
        event.at,
        event.type,
        event.type === "transition"
          ? `${event.data["from"] ?? "nothing"} -> ${String(event.data["to"])}`
          : JSON.stringify(event.data),
        event.operationId
      ])
    ]),
    "",
    table([
      ["OPERATION", "VERB", "STATUS", "ATTEMPT", "ERROR"],
      ...result.operations.map((operation) => [
        operation.operationId,
        operation.verb,
        operation.status,
        String(operation.attempt),
        operation.error?.errorCode ?? ""
      ])
    ])
  ].join("\n")

export const gc = (result: Results.GcResult): string =>
  result.actions.length === 0
    ? "Nothing to put right."
    : table([
        ["SESSION", "FOUND", "ACTION", "OUTCOME"],
        ...result.actions.map((action) => [
          action.name ?? "-",
          action.finding,
          action.action,
          action.error === undefined ? action.outcome : `${action.outcome}: ${action.error.cause}`
        ])
      ])
