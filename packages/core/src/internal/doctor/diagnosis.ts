/** What `doctor` says of one thing that it looked at. */
import type { DiagnosisView } from "../../Results.ts"
import type { SandboxError } from "../../SandboxError.ts"

export const ok = (about: string, finding: string): DiagnosisView => ({ about, status: "ok", finding, nextStep: null })

/** Nothing is wrong yet, or nothing that matters to what there is. */
export const warning = (about: string, finding: string, nextStep: string): DiagnosisView => ({
  about,
  status: "warning",
  finding,
  nextStep
})

export const problem = (about: string, finding: string, nextStep: string): DiagnosisView => ({
  about,
  status: "problem",
  finding,
  nextStep
})

export const failed = (about: string, error: SandboxError): DiagnosisView =>
  problem(about, error.message, error.nextStep)
