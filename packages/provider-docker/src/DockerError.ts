/** What can go wrong with an engine, in the closed reasons of the provider port. The only reader of statuses and texts. */
import { type Outcome, ProvisionerError, type Reason } from "@org/sandbox-core/Provisioner"
import { Data } from "effect"

export const provider = "docker"

/** The engine said no. */
export class EngineError extends Data.TaggedError("EngineError")<{
  /** As HTTP has it; 0 where it was said in the middle of an answer that had begun well. */
  readonly status: number
  readonly message: string
}> {}

/** There was no answer: the engine could not be asked, or what it said did not arrive. */
export class TransportError extends Data.TaggedError("TransportError")<{
  /** The system's own name for the error, such as `ECONNREFUSED`. */
  readonly code: string | undefined
  readonly message: string
}> {}

/** An answer that is none of those the engine's API has. */
export class UnreadableAnswer extends Data.TaggedError("UnreadableAnswer")<{ readonly message: string }> {}

/** A call that this provider turned down before it changed anything. */
export class Refused extends Data.TaggedError("Refused")<{ readonly reason: Reason; readonly message: string }> {}

/** Everything that the parts of this provider fail with. */
export type Problem = EngineError | TransportError | UnreadableAnswer | Refused

/** The error of a member of the port, from whatever its parts failed with. */
export const classify =
  (operation: string) =>
  (problem: Problem): ProvisionerError =>
    new ProvisionerError({
      provider,
      operation,
      reason: reasonOf(problem),
      outcome: looking.includes(operation) ? "not_applied" : outcomeOf(problem),
      message: sentence(problem),
      cause: problem
    })

/** Members that change nothing. */
const looking = ["scope", "preflight", "find", "inspect", "list", "endpoint", "files.read"]

/** The code of a connection through ssh over which nothing was heard; the message is ssh's own words. */
export const sshSilent = "ESSH"

/** Errors of a connection that never came about. */
const unconnected = [
  "ENOENT",
  "ECONNREFUSED",
  "EACCES",
  "EPERM",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "UND_ERR_CONNECT_TIMEOUT"
]

/** Errors of an engine whose certificate we do not take. */
const untrusted = /^(CERT_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|HOSTNAME_MISMATCH|ERR_TLS_CERT)/

/** Errors of an engine that does not take our certificate, or wants one. */
const unknownTo = /^ERR_SSL_.*ALERT/

/** Errors of an engine that speaks no TLS, or of something else that does not. */
const plain = /^(EPROTO|ERR_SSL_(WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG))$/

/** What OpenSSL has to say, between where it says it and which line of its source that is. */
const openssl = /:error:[0-9A-F]+:[^:]*:[^:]*:([^:]+):/

/** What answers in another language than HTTP. */
const foreign = /^HPE_/

/** What ssh says where it may not enter. */
const locked = /permission denied|host key verification failed|too many authentication failures/i

/** What is said on the way to an engine behind ssh that was never reached. */
const lost =
  /^(ssh: |ssh cannot be run|kex_exchange_identification)|(command )?not found|cannot connect to the docker daemon|failed to open the raw stream/im

const outcomeOf = (problem: Problem): Outcome => {
  switch (problem._tag) {
    case "Refused":
      return "not_applied"
    case "EngineError":
      // a call of several steps may have done the first of them
      return problem.status >= 400 && problem.status < 500 ? "not_applied" : "unknown"
    case "TransportError":
      return wasAsked(problem) ? "unknown" : "not_applied"
    case "UnreadableAnswer":
      return "unknown"
  }
}

/** Whether the engine may have heard what it was asked. */
const wasAsked = ({ code = "", message }: TransportError): boolean =>
  code === sshSilent
    ? !locked.test(message) && !lost.test(message)
    : ![untrusted, unknownTo, plain].some((pattern) => pattern.test(code)) && !unconnected.includes(code)

const reasonOf = (problem: Problem): Reason => {
  switch (problem._tag) {
    case "Refused":
      return problem.reason
    case "TransportError":
      return unanswered(problem)
    case "UnreadableAnswer":
      return "Unsupported"
    case "EngineError":
      return reasonOfText(problem.message) ?? statuses[problem.status] ?? "Unknown"
  }
}

/** What an engine's words mean, whatever the status they came with; nothing for words that are not known. */
export const reasonOfText = (message: string): Reason | undefined =>
  texts.find(([pattern]) => pattern.test(message))?.[1]

const unanswered = ({ code = "", message }: TransportError): Reason => {
  if (code === "EACCES" || code === "EPERM" || untrusted.test(code) || unknownTo.test(code)) return "Unauthorized"
  if (code === sshSilent && locked.test(message)) return "Unauthorized"
  if (plain.test(code)) return "Invalid"
  return foreign.test(code) ? "Unsupported" : "Unreachable"
}

const statuses: Readonly<Record<number, Reason>> = {
  400: "Invalid",
  401: "Unauthorized",
  403: "Unauthorized",
  404: "NotFound",
  409: "Conflict",
  429: "RateLimited",
  501: "Unsupported",
  502: "Unreachable",
  503: "Unreachable",
  504: "Unreachable"
}

/** In this order: the first that matches. The engine answers much with 500 or 404 that is something else. */
const texts: ReadonlyArray<readonly [RegExp, Reason]> = [
  [/no space left on device|disk quota exceeded/i, "QuotaExceeded"],
  [/all predefined address pools have been fully subscribed|non-overlapping IPv4 address pool/i, "QuotaExceeded"],
  [/toomanyrequests|too many requests|rate limit/i, "RateLimited"],
  [/cannot allocate memory|resource temporarily unavailable|too many open files/i, "CapacityExhausted"],
  [
    /port is already allocated|address already in use|failed to bind host port|pool overlaps|name is already in use/i,
    "Conflict"
  ],
  [
    /is (not running|paused|restarting|dead)|is being removed|marked for removal|removal of container .* is already in progress|has active endpoints|container state improper|did not receive an exit event/i,
    "NotReady"
  ],
  // an engine that is ending, or whose containerd is
  [
    /database not open|code = Unavailable|ttrpc: closed|transport is closing|error reading from server: EOF/i,
    "Unreachable"
  ],
  [/client version .* is too (new|old)|minimum supported API version/i, "Unsupported"],
  [/could not select device driver|unknown or invalid runtime|unknown runtime specified/i, "Unsupported"],
  [/kernel does not support|cgroup.* not (mounted|supported)/i, "Unsupported"],
  [/unauthorized|authentication required|no basic auth credentials/i, "Unauthorized"],
  [/pull access denied|repository does not exist|manifest (for .* )?(not found|unknown)|no such image/i, "NotFound"],
  [
    /dial tcp|lookup .* on|i\/o timeout|TLS handshake timeout|connection refused|no route to host|no such host/i,
    "Unreachable"
  ],
  [
    /executable file not found|no such file or directory|permission denied|exec format error|not a directory/i,
    "Invalid"
  ],
  [
    /minimum memory limit|range of CPUs|invalid reference format|unable to find user|no matching entries in passwd|error processing tar file|is a pre-defined network/i,
    "Invalid"
  ]
]

const sentence = (problem: Problem): string => {
  if (problem._tag !== "TransportError") return oneLine(problem.message)
  const { code = "" } = problem
  const said = oneLine(openssl.exec(problem.message)?.[1] ?? problem.message)
  if (code === "EACCES" || code === "EPERM") {
    return `${said}: this user may not use the engine; add it to the group that owns the socket (often docker), or set DOCKER_HOST`
  }
  if (code === "ENOENT" || code === "ECONNREFUSED") {
    return `${said}: no engine listens there; start it, or set DOCKER_HOST`
  }
  if (untrusted.test(code)) return `${said}: the engine's certificate is not one to trust; correct DOCKER_CERT_PATH`
  if (unknownTo.test(code))
    return `${said}: the engine does not take this client's certificate; correct DOCKER_CERT_PATH`
  if (plain.test(code))
    return `${said}: the engine speaks no TLS there; unset DOCKER_TLS_VERIFY, or name its other port`
  if (foreign.test(code)) return `${said}: what answers there is no Docker engine`
  return code === sshSilent ? `the engine's host does not connect through ssh: ${said}` : said
}

const oneLine = (text: string): string => text.trim().replaceAll(/\s*\n\s*/g, " ")
