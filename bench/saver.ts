/** The other process: saves and restores a session in a warm process when it is asked to, and answers how long it took. */
import { createClient } from "@org/sandbox-core/promise"

export type Question =
  | { readonly verb: "up"; readonly repository: string }
  | { readonly verb: "checkpoint" }
  | { readonly verb: "restore"; readonly checkpoint: string }
  | { readonly verb: "remove" }
  | { readonly verb: "end" }

export type Answer = { readonly took: number; readonly said: string } | { readonly problem: string }

const client = createClient({ providers: { local: { use: () => import("@org/sandbox-provider-local") } } })
const session = "bench"

const verbs = {
  /** Says where the checkout is. */
  up: async (question: Question) => {
    if (question.verb !== "up") return ""
    const { repository } = question
    return (await client.up({ repository, branch: "main", provider: "local", name: session })).worktreePath ?? ""
  },
  /** Says the checkpoint's id. */
  checkpoint: async () => (await client.checkpoint({ session })).checkpoint.id,
  restore: async (question: Question) =>
    question.verb === "restore" ? (await client.restore({ session, checkpoint: question.checkpoint })).state : "",
  /** All checkpoints, so that the next one finds nothing to share. */
  remove: async () => {
    const { checkpoints } = await client.checkpoints({ session })
    for (const { id } of checkpoints) await client.removeCheckpoint({ session, checkpoint: id, confirmDataLoss: true })
    return String(checkpoints.length)
  },
  end: async () => {
    await client.destroy({ session, force: true, confirmDataLoss: true })
    await client.close()
    return ""
  }
}

process.on("message", async (question: Question) => {
  const from = performance.now()
  const answer: Answer = await verbs[question.verb](question).then(
    (said) => ({ took: performance.now() - from, said }),
    (error) => ({ problem: error instanceof Error ? error.message : String(error) })
  )
  process.send?.(answer)
  if (question.verb === "end") process.disconnect()
})
