/** `up`: a new session of a repository at a branch, ready to work in. */
import { Effect, Path, Result } from "effect"
import * as Browser from "../Browser.ts"
import * as Claim from "../Claim.ts"
import type { GitServices } from "../Git.ts"
import { Ids } from "../Ids.ts"
import * as beginning from "../internal/beginning.ts"
import * as box from "../internal/box.ts"
import { isOurs } from "../internal/boxCheckout.ts"
import * as bringUp from "../internal/bringUp.ts"
import { recorded, slotsExhausted } from "../internal/failures.ts"
import * as halting from "../internal/halt.ts"
import * as hooks from "../internal/hooks.ts"
import * as inherit from "../internal/inherit.ts"
import * as ready from "../internal/ready.ts"
import { standing, stillRunning } from "../internal/requests.ts"
import * as secrets from "../internal/secrets.ts"
import * as sessions from "../internal/sessions.ts"
import * as setups from "../internal/setups.ts"
import { isTtl } from "../internal/ttl.ts"
import { canSee } from "../internal/visible.ts"
import { type Change, Ledger, type NameTaken } from "../Ledger.ts"
import * as Lifecycle from "../Lifecycle.ts"
import { liveness } from "../Liveness.ts"
import type { UpOptions } from "../Options.ts"
import { Principal } from "../Principal.ts"
import { type Backend, Provisioners } from "../Provisioners.ts"
import { recovery } from "../Recovery.ts"
import * as Repository from "../Repository.ts"
import type { UpResult } from "../Results.ts"
import * as SandboxError from "../SandboxError.ts"
import { type Operation, type Session, type SessionPatch, Spec } from "../Session.ts"
import * as Time from "../Time.ts"

/**
 * Creates a session and brings it to `ready`, or answers what the same request answered before.
 *
 * Fails with `ERR_NAME_TAKEN` when a live session of this owner holds the name, `ERR_REPO_UNRESOLVED` when the branch has
 * no commit to start at, `ERR_SANDBOX_PROVISION_FAILED` when the provider could not make the box: then everything that was
 * made is removed again, and a `failed` record keeps the reason.
 */
export const up = Effect.fn("up")(function* (request: UpOptions) {
  const ledger = yield* Ledger
  const owner = yield* Principal
  const provisioners = yield* Provisioners
  const work = request.fromCheckpoint === undefined ? undefined : yield* beginning.find(request.fromCheckpoint)
  const parent = request.parent === undefined ? undefined : yield* sessions.find(request.parent)
  const options = withDefaults(request, work)
  const { branch, name, provider } = options
  yield* validate(options)
  const source = yield* Repository.parse(options.repository ?? "", (yield* Path.Path).resolve("."))
  // what the configuration says is no part of the request: the same command is the same request wherever it is typed
  const args = {
    repository: source.location,
    branch: request.branch,
    base: request.base,
    name,
    provider,
    spec: new Spec(request.spec ?? {}),
    // by their whole ids, whatever part of them was typed
    fromCheckpoint: work?.checkpoint.id,
    parent: parent?.id,
    ttl: request.ttl,
    ...setups.explicit(request)
  }
  const before = yield* standing("up", args, options)
  if (before._tag === "succeeded") return yield* replay(before.operation, before.session)
  // only a new request is asked whether it still makes sense
  if (!provisioners.names.includes(provider)) return yield* unknownProvider(provider, provisioners.names)
  const backend = yield* provisioners.get(provider)
  if (before._tag === "interrupted") {
    const { operation, session } = before
    const found = yield* secrets.resolve(session.setup)
    return yield* opened(
      options,
      yield* Claim.withClaim(
        { session, kind: "up", operation, from: [] },
        create(backend, { source, options, secrets: found, work })
      )
    )
  }

  if (parent?.state === "destroyed") return yield* noParent(parent)
  const setup = yield* setups.effective(options)
  if (setup !== null) {
    yield* hooks.check(setup, source)
    yield* inherit.check(setup, source.location)
  }
  if (work !== undefined) yield* beginning.check(work, source)
  const spec = new Spec(options.spec ?? {})
  const { operation } = before
  const { found, scope } = yield* Effect.gen(function* () {
    if (setup !== null) yield* bringUp.check(backend, setup)
    if (setup?.reuseWorktree === true && isOurs(backend)) return yield* notReusable(backend)
    return { found: yield* secrets.resolve(setup), scope: yield* preflight(backend, spec) }
  }).pipe(Effect.mapError((error) => SandboxError.extend(error, { operationId: operation.id })))
  // the name needs the branch; a repository that cannot even say its default one fails below, on the record
  const chosen = branch === undefined ? yield* Effect.result(Repository.defaultBranch(source)) : Result.succeed(branch)
  const claim = yield* Claim.request("up", null)
  const acquire = ledger
    .reserve({
      move: Lifecycle.move({ from: undefined, to: "requested", by: "up" }),
      session: {
        id: yield* (yield* Ids).next("sbx"),
        owner,
        name: name ?? Repository.defaultName(source, Result.getOrUndefined(chosen)),
        provider,
        spec,
        repository: source.location,
        branch: Result.getOrElse(chosen, () => null),
        setup,
        parent: parent?.id,
        expiresAt: options.ttl === undefined ? null : (yield* Time.millis) + Math.round(options.ttl)
      },
      slot: bringUp.slot(backend, setup, scope),
      operation,
      claim
    })
    .pipe(
      Effect.catchTags({
        NameTaken: (taken) => nameTaken(taken, operation.id),
        SlotsExhausted: (exhausted) => Effect.fail(slotsExhausted(exhausted, owner, operation.id)),
        RequestKnown: (known) => stillRunning(known.operation)
      })
    )
  return yield* opened(
    options,
    yield* Claim.bracket(
      { acquire, claim, operationId: operation.id },
      create(backend, { source, options, secrets: found, scope, work })
    )
  )
})

const withDefaults = ({ defaults, ...request }: UpOptions, work: beginning.Beginning | undefined): UpOptions => ({
  ...request,
  repository: request.repository ?? work?.session.repository,
  branch: request.branch ?? (work === undefined ? defaults?.branch : beginning.branchOf(work)),
  base: request.base ?? defaults?.base,
  depth: request.depth ?? defaults?.depth,
  spec: { ...defaults?.spec, ...request.spec }
})

/** What a user looks at is no part of the operation: it is ready whether a browser opens or not. */
const opened = Effect.fnUntraced(function* (options: UpOptions, result: UpResult) {
  if (options.open !== true || result.endpointUrl === null) return result
  return { ...result, browserOpened: yield* Browser.open(result.endpointUrl) }
})

/** The phases from a reserved row to a ready session, each going on where a dead attempt stopped. */
const create = (
  backend: Backend,
  {
    options,
    scope,
    secrets,
    source,
    work
  }: {
    readonly source: Repository.Source
    readonly work: beginning.Beginning | undefined
    readonly options: UpOptions
    readonly secrets: ReadonlyArray<secrets.Resolved>
    readonly scope?: string | undefined
  }
) => ({
  verb: "up",
  use: Effect.fnUntraced(function* (held: Claim.Held) {
    if (backend.isolation === "none") {
      yield* held.warn(`provider ${backend.name} does not isolate: commands run on this machine, as you`)
    }
    const row = yield* held.row
    const ref =
      row.instance ??
      (yield* box.make(held, backend, {
        scope: scope === undefined ? preflight(backend, row.spec) : Effect.succeed(scope),
        set: held.phase("resolve", resolved(row, { source, base: options.base, work })),
        before: (key) => hooks.onHost(held, "preUp", key)
      }))
    if (row.instance !== null && !(yield* box.wake(held, backend, ref))) return yield* boxLost(backend.name)
    const finished = yield* ready.finish(held, backend, { ref, secrets })
    const result: UpResult = {
      sessionId: row.id,
      operationId: held.operationId,
      state: "ready",
      ...ready.described(finished.row, finished.set.readyAt),
      envFile: finished.envFile,
      browserOpened: false,
      warnings: yield* held.warnings
    }
    return ready.done(result, { move: yield* held.move("ready"), set: finished.set })
  }),
  settle: settleFailedUp
})

/** The commit to start at, unless a dead attempt recorded it already. */
const resolved = Effect.fnUntraced(function* (
  row: Session,
  from: {
    readonly source: Repository.Source
    readonly base: string | undefined
    readonly work: beginning.Beginning | undefined
  }
): Effect.fn.Return<SessionPatch, SandboxError.SandboxError, GitServices> {
  if (row.commit !== null) return {}
  const { base, source, work } = from
  if (work !== undefined) return beginning.of(work, row)
  const branch = row.branch ?? (yield* Repository.defaultBranch(source))
  const { commit } = yield* Repository.resolve(source, { branch, base })
  return { branch, commit }
})

/** The truth after a failed up: nothing is left, or it says that something may be. */
export const settleFailedUp = Effect.fnUntraced(function* (held: Claim.Held, failure: Claim.Failure) {
  const row = yield* held.row
  const left = box.isLeft(row, failure.undone)
  const change: Change = {
    move: yield* held.move("failed"),
    set: {
      reservedName: null,
      slot: null,
      ...halting.unserved,
      instance: left ? row.instance : null,
      workspacePath: left ? row.workspacePath : null,
      cleanupRequired: left,
      lastError: recorded(failure.error)
    },
    intents: left ? [] : yield* box.finished(held, failure.error)
  }
  return change
})

const preflight = Effect.fnUntraced(function* (backend: Backend, spec: Spec) {
  if (!canSee(backend)) {
    return yield* SandboxError.make("ERR_UNSUPPORTED", {
      message: `provider ${backend.name} can neither place a checkout nor take one`,
      nextStep: "use a provider that can",
      details: { provider: backend.name, capability: "workspace" }
    })
  }
  return yield* backend.preflight(spec)
})

const noParent = ({ id, name, state }: Session) =>
  SandboxError.make("ERR_INVALID_ARGUMENT", {
    message: `no session can be started on behalf of ${name}: it is destroyed`,
    nextStep: "name one that is alive as --parent (`sandbox list`), or none",
    details: { field: "parent", session_id: id, state }
  })

const notReusable = ({ name }: Backend) =>
  SandboxError.make("ERR_UNSUPPORTED", {
    message: `provider ${name} cannot use a worktree of yours: its boxes see nothing of this host`,
    nextStep: "leave --reuse-worktree out, so that the session gets a checkout of its own",
    details: { provider: name, capability: "workspace", field: "reuse_worktree" }
  })

const replay = Effect.fnUntraced(function* (operation: Operation, session: Session) {
  if (session.state === "ready" || session.state === "completed") {
    return { ...(operation.result as unknown as UpResult), replayed: true as const }
  }
  const way = recovery(session, yield* liveness(session.claim))
  const onward = session.state === "destroyed" ? "sandbox up" : `sandbox resume ${session.id}`
  return yield* SandboxError.make("ERR_NOT_READY", {
    message: `this request made ${session.name}, which is ${session.state} now`,
    nextStep:
      session.state === "destroyed"
        ? "make a new session with a new --client-request-id"
        : `run \`${way?.command ?? onward}\``,
    operationId: operation.id,
    sessionId: session.id,
    state: session.state,
    replayed: true,
    retryable: false
  })
})

const nameTaken = Effect.fnUntraced(function* ({ holder }: NameTaken, operationId: string) {
  const now = yield* Time.millis
  const way = recovery(holder, yield* liveness(holder.claim))
  const command = way?.command ?? `sandbox ${holder.state === "stopped" ? "resume" : "status"} ${holder.id}`
  return yield* SandboxError.make("ERR_NAME_TAKEN", {
    message: `the name ${holder.name} is held by ${holder.id}, which is ${holder.state} (${holder.repository}, branch ${holder.branch ?? "not known yet"})`,
    nextStep: `go on with that one: \`${command}\`; or choose another --name`,
    operationId,
    details: {
      holder: { session_id: holder.id, state: holder.state, age_s: Math.floor((now - holder.createdAt) / 1000) },
      command
    }
  })
})

const boxLost = (provider: string) =>
  SandboxError.make("ERR_SANDBOX_PROVISION_FAILED", {
    message: "the box that an earlier attempt had made is gone",
    nextStep: "run the command again with a new --client-request-id",
    details: { provider, operation: "inspect", reason: "NotFound", outcome: "not_applied" }
  })

const unknownProvider = (name: string, names: ReadonlyArray<string>) =>
  SandboxError.make("ERR_INVALID_ARGUMENT", {
    message: name === "" ? "no provider was chosen" : `there is no provider ${name}`,
    nextStep: `choose one with --provider or SANDBOX_PROVIDER: ${names.join(", ") || "(none is registered)"}`,
    details: { field: "provider", registered: names }
  })

const validate = Effect.fnUntraced(function* (options: UpOptions) {
  const { base, branch, fromCheckpoint, name, reuseWorktree, ttl } = options
  if (ttl !== undefined && !isTtl(ttl)) {
    return yield* SandboxError.make("ERR_INVALID_ARGUMENT", {
      message: `a session cannot live for ${ttl} ms`,
      nextStep: "pass a time such as 8h as --ttl, or none",
      details: { field: "ttl" }
    })
  }
  if (fromCheckpoint !== undefined && base !== undefined) {
    return yield* SandboxError.make("ERR_INVALID_ARGUMENT", {
      message: "a session that starts with the work of a checkpoint starts at its commit, and not at a base",
      nextStep: "leave --base out",
      details: { field: "base" }
    })
  }
  if (fromCheckpoint !== undefined && reuseWorktree === true) {
    return yield* SandboxError.make("ERR_INVALID_ARGUMENT", {
      message: "the work of a checkpoint would take the place of what a worktree of yours holds",
      nextStep: "leave --reuse-worktree out, so that the session gets a checkout of its own",
      details: { field: "reuse_worktree" }
    })
  }
  const problems = [
    { field: "branch", problem: branch === undefined ? undefined : Repository.checkBranch(branch) },
    { field: "base", problem: base === undefined ? undefined : Repository.checkBranch(base) },
    { field: "name", problem: name === undefined ? undefined : Repository.checkName(name) }
  ]
  for (const { field, problem } of problems) {
    if (problem === undefined) continue
    return yield* SandboxError.make("ERR_INVALID_ARGUMENT", {
      message: problem,
      nextStep: `pass another --${field}`,
      details: { field }
    })
  }
})
