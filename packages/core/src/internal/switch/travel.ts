/** What of a session can travel to another provider, and what stays behind. */
import { Effect } from "effect"
import type { Backend } from "../../Provisioners.ts"
import * as SandboxError from "../../SandboxError.ts"
import type { Session } from "../../Session.ts"
import * as Setup from "../../Setup.ts"
import { isOurs } from "../boxCheckout.ts"
import { count } from "../unsaved.ts"
import { canSee, status } from "../visible.ts"

/** Between which providers. */
export interface Route {
  readonly from: Backend
  readonly to: Backend
}

/** Whether work can be put into checkouts of the provider's boxes. */
export const takesWork = (backend: Backend): boolean => canSee(backend) && !backend.unseen

/** Whether work can be read from the session's checkout. */
export const givesWork = ({ workspacePath }: Session, from: Backend): boolean =>
  isOurs(from) || (takesWork(from) && workspacePath !== null)

/**
 * Work that would be left behind, a sentence each: the switch is refused until that is confirmed. Looks into the box only
 * where the providers by themselves leave it open.
 */
export const losses = Effect.fnUntraced(function* (session: Session, { from, to }: Route) {
  const { instance, name, setup } = session
  const lost: Array<string> = []
  if (Setup.keeping(setup).volume === "persist") {
    lost.push("durability.volume is persist, and what the box keeps outside its checkout stays behind")
  }
  if (instance === null || (givesWork(session, from) && takesWork(to))) return lost
  if (!canSee(from)) {
    return [...lost, `whether there is work in the box of ${name} cannot be seen by provider ${from.name}`]
  }
  const seen = yield* Effect.result(status(from, instance, session.commit))
  if (seen._tag === "Failure") {
    return [...lost, `whether there is work in the box of ${name} could not be seen: ${seen.failure.message}`]
  }
  const { dirtyFiles, unpublishedCommits } = seen.success
  if (dirtyFiles === 0 && unpublishedCommits === 0) return lost
  const work = `${count(dirtyFiles, "changed or untracked file")} and ${count(unpublishedCommits, "commit")}`
  return [
    ...lost,
    givesWork(session, from)
      ? `${work} cannot be put into a box of provider ${to.name}, and stay in a checkpoint`
      : `${work} cannot be read from a box of provider ${from.name}`
  ]
})

/** Refuses while something would be left behind that nobody gave up. */
export const refuseLosses = (session: Session, lost: ReadonlyArray<string>, to: Backend) =>
  lost.length === 0
    ? Effect.void
    : Effect.fail(
        SandboxError.make("ERR_DATA_LOSS_UNCONFIRMED", {
          message: `not all of ${session.name} can travel: ${lost.join("; ")}`,
          nextStep: `save what is needed, then go on with \`sandbox switch ${session.id} --to ${to.name} --confirm-data-loss\``,
          sessionId: session.id,
          state: session.state,
          details: { stays: lost }
        })
      )

/** What stays behind in any case, for whoever asks before. */
export const stays = ({ setup }: Session, { from, to }: Route): ReadonlyArray<string> => [
  "processes and what they have in memory: services are started again, and other commands end",
  from.isolation === "none"
    ? "what commands have changed on this host outside the checkout"
    : "what is in the box outside the checkout, installed programs included",
  ...(setup?.reuseWorktree === true
    ? ["the worktree of yours that it uses: it is let go of, and the session gets a checkout of its own"]
    : []),
  ...(setup?.secrets.length ? ["values of secrets: they are looked up again, by the same names"] : []),
  ...(Setup.passwordEnv(setup) === null ? [] : ["the password of the primary service: the new box has another one"]),
  ...(setup !== null && Setup.ports(setup).length > 0 && from.hostPorts !== to.hostPorts
    ? [to.hostPorts ? "addresses: services get ports of this host" : "ports of this host: services listen in the box"]
    : [])
]
