/** What `doctor` found, for a person: a line each, what is wrong with its way out, and what `gc` would do. */
import type { Results } from "@org/sandbox-core"
import * as Render from "./Render.ts"

/** `session`, of `session app-main`. */
const groupOf = ({ about }: Results.DiagnosisView): string => about.split(" ", 1)[0] ?? about

const line = ({ about, finding, status }: Results.DiagnosisView): ReadonlyArray<string> => [
  `  ${status}`,
  about,
  finding
]

export const doctor = ({ actions, diagnoses, healthy }: Results.DoctorResult): string => {
  const groups = Map.groupBy(diagnoses, groupOf)
  const wrong = [...groups.values()].flat().filter(({ nextStep }) => nextStep !== null)
  const problems = diagnoses.filter(({ status }) => status === "problem").length
  const doubts = diagnoses.filter(({ status }) => status === "warning").length
  const verdict = [
    problems === 0 ? "no problem" : `${problems} ${problems === 1 ? "problem" : "problems"}`,
    ...(doubts === 0 ? [] : [`${doubts} ${doubts === 1 ? "warning" : "warnings"}`])
  ].join(", ")
  return [
    Render.table([...groups.values()].flat().map(line)),
    ...(wrong.length === 0 ? [] : ["", ...wrong.map(({ about, nextStep }) => `${about}: ${nextStep}`)]),
    ...(actions.length === 0 ? [] : ["", "`sandbox gc` would do:", Render.gc({ dryRun: true, actions, warnings: [] })]),
    "",
    healthy ? `healthy: ${verdict}` : verdict
  ].join("\n")
}
