/** `owner-of`: which session a process of this host belongs to. */

import { Effect } from "effect"
import { Host } from "../Host.ts"
import { serviceMarker } from "../internal/supervisor.ts"
import { Ledger } from "../Ledger.ts"
import type { OwnerOfOptions } from "../Options.ts"
import { Ports } from "../Ports.ts"
import { Principal } from "../Principal.ts"
import { boxMarker, Processes } from "../Processes.ts"
import type { OwnerOfResult } from "../Results.ts"
import * as SandboxError from "../SandboxError.ts"
import { keyGeneration } from "../Session.ts"

/**
 * Proof is the box's key in the environment the process was started with, and nothing else: not its parents, not its
 * name, not a remembered number.
 *
 * Fails with `ERR_SESSION_NOT_FOUND` for what belongs to no session of this ledger, and with `ERR_SESSION_FORBIDDEN` for
 * what belongs to a session of somebody else.
 */
export const ownerOf = Effect.fn("ownerOf")(function* (options: OwnerOfOptions) {
  const { pid, port } = options
  if (pid === undefined && port === undefined) return yield* invalid("neither a process nor a port was named", "pid")
  if (pid !== undefined && !(Number.isSafeInteger(pid) && pid > 0)) {
    return yield* invalid("a process has a whole number above 0", "pid")
  }
  // a number that may be either can only be a process then
  if (port !== undefined && !isPort(port) && pid === undefined) {
    return yield* invalid("a port is a whole number from 1 to 65535", "port")
  }
  const ofPid = pid === undefined ? undefined : yield* Effect.result(ofProcess(pid))
  const ofPort = port === undefined || !isPort(port) ? undefined : yield* Effect.result(ofListener(port))
  if (ofPid?._tag === "Success" && ofPort?._tag === "Success" && ofPid.success.pid !== ofPort.success.pid) {
    return yield* invalid(`both a process and the port ${port} belong to a session`, "pid", {
      nextStep: "say which one is meant with --pid or --port"
    })
  }
  if (ofPort?._tag === "Success") return ofPort.success
  if (ofPid?._tag === "Success") return ofPid.success
  // what exists is told about before what does not
  const failures = [ofPid, ofPort].flatMap((answer) => (answer?._tag === "Failure" ? [answer.failure] : []))
  return yield* failures.find(({ details }) => details?.["exists"] === true) ?? failures[0]!
})

const isPort = (port: number): boolean => Number.isInteger(port) && port > 0 && port < 65_536

const ofListener = Effect.fnUntraced(function* (port: number) {
  const listener = yield* (yield* Ports).listener(port)
  if (listener === undefined) {
    return yield* unowned(`nobody listens on port ${port}`, { port, exists: false })
  }
  if (listener.pid === null) {
    return yield* unowned(`who listens on port ${port} belongs to another user and cannot be looked at`, {
      port,
      exists: true
    })
  }
  const result: OwnerOfResult = { ...(yield* ofProcess(listener.pid, port)), port }
  return result
})

const ofProcess = Effect.fnUntraced(function* (pid: number, port?: number) {
  const { variable } = yield* Processes
  const what = port === undefined ? `process ${pid}` : `process ${pid}, which listens on port ${port},`
  const details = { pid, ...(port === undefined ? {} : { port }) }
  const key = yield* variable(pid, boxMarker)
  if (key === undefined) {
    const exists = (yield* (yield* Host).startedAt(pid)) !== undefined
    return yield* unowned(exists ? `${what} belongs to no session` : `there is no process ${pid}`, {
      ...details,
      exists
    })
  }
  const session = yield* (yield* Ledger).session(key.slice(0, Math.max(0, key.lastIndexOf(".g"))))
  if (session._tag === "None") {
    return yield* unowned(`${what} belongs to a session of another ledger`, { ...details, exists: true })
  }
  const { generation, id, name, owner, state } = session.value
  if (owner !== (yield* Principal)) {
    return yield* SandboxError.make("ERR_SESSION_FORBIDDEN", {
      message: `${what} belongs to a session of somebody else`,
      nextStep: "run the command as the session's owner (--principal); your own sessions: `sandbox list`",
      details: { ...details, exists: true }
    })
  }
  const service = yield* variable(pid, serviceMarker)
  const result: OwnerOfResult = {
    sessionId: id,
    name,
    state,
    pid,
    ...(service === undefined ? {} : { service }),
    warnings:
      keyGeneration(key) === generation ? [] : [`${what} was started in an earlier box of ${name}, and is still there`]
  }
  return result
})

const unowned = (
  message: string,
  details: { readonly exists: boolean; readonly pid?: number; readonly port?: number }
) =>
  SandboxError.make("ERR_SESSION_NOT_FOUND", {
    message,
    nextStep: "see what sessions there are with `sandbox list`, and their ports with `sandbox ports <session>`",
    details
  })

const invalid = (message: string, field: string, more: { readonly nextStep?: string } = {}) =>
  SandboxError.make("ERR_INVALID_ARGUMENT", {
    message,
    nextStep: "give the number of a process, or of a port with --port",
    details: { field },
    ...more
  })
