/** A move to another provider, for a person. */
import type { Results } from "@org/sandbox-core"
import { facts, size, table, up } from "./Render.ts"

export interface Switched extends Results.SwitchResult {
  /** Where an operation that goes on by itself writes. */
  readonly log?: string
}

export const switched = (result: Switched): string => {
  const { from, log, name, orphans, to } = result
  if (result.noop === true) return `${name}  ${result.state}, and on ${to} already: nothing was done`
  if (result.detached === true) {
    return [
      `${name}  ${result.state}, from ${from} to ${to}: it goes on by itself`,
      facts([["log", log]]),
      `next: sandbox status ${name} --watch`
    ].join("\n")
  }
  const lines = up(result).split("\n")
  return [
    ...lines.slice(0, -1),
    `moved from ${from} to ${to}`,
    ...orphans.map(({ key, provider, reason }) => `left on ${provider}: ${key} (${reason}); \`sandbox gc\` removes it`),
    ...lines.slice(-1)
  ].join("\n")
}

const count = (number: number, what: string): string => `${number} ${what}${number === 1 ? "" : "s"}`

const travels = (work: Results.SwitchPlan["work"]): string =>
  work === null
    ? "what its checkout holds, which cannot be seen now"
    : work.dirtyFiles === 0 && work.unpublishedCommits === 0
      ? "nothing but what its repository has"
      : `${count(work.unpublishedCommits, "commit")} and ${count(work.dirtyFiles, "changed file")}, ${size(work.bytes)}`

export const plan = (plan: Results.SwitchPlan): string => {
  const { from, name, needsConfirmation, phases, state, stays, to, work } = plan
  if (from === to) return `${name}  ${state}, and on ${to} already: there is nothing to do`
  const confirm = needsConfirmation ? " --confirm-data-loss" : ""
  return [
    `${name}  ${state}, from ${from} to ${to}`,
    "",
    table(phases.map((phase, index) => [`  ${index + 1}`, phase])),
    "",
    `travels: ${travels(work)}`,
    ...stays.map((what) => `stays: ${what}`),
    ...(needsConfirmation ? ["work would stay behind: it is given up with --confirm-data-loss alone"] : []),
    `nothing was done; next: sandbox switch ${name} --to ${to}${confirm}`
  ].join("\n")
}
