/** Exports, and what follows the end of the work, for a person. */
import type { Results } from "@org/sandbox-core"
import { facts } from "./Render.ts"

const teardown = ({ destroyed, reason }: Results.AutoTeardownView): string =>
  destroyed ? `destroyed: ${reason}` : `kept: ${reason}`

export const exported = (result: Results.ExportResult): string =>
  [
    `${result.name}  ${result.already === true ? "was exported before" : "exported"}`,
    facts([
      ["to", result.to === "branch" ? `${result.target} ${result.branch}` : result.target],
      ["commit", `${result.commit}${result.uncommitted ? " (with what was not committed)" : ""}`],
      ["artifact", result.artifact],
      ["session", teardown(result.autoTeardown)]
    ])
  ].join("\n")

export const completed = (result: Results.CompleteResult): string =>
  [
    `${result.name}  ${result.already === true ? "was completed before" : "completed"}`,
    facts([
      ["saved", result.checkpoint?.id ?? "no"],
      ["session", teardown(result.autoTeardown)]
    ])
  ].join("\n")

export const extended = ({ expiresAt, name }: Results.ExtendResult): string =>
  `${name}  ${expiresAt === null ? "is never halted by itself" : `is halted by \`gc\` from ${expiresAt} on`}`
