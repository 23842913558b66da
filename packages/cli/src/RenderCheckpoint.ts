/** Checkpoints for a person. */
import type { Results } from "@org/sandbox-core"
import { contents, facts, size, table } from "./Render.ts"

export const created = ({ checkpoint, name }: Results.CheckpointResult): string =>
  [
    `${name}  saved`,
    facts([
      ["checkpoint", checkpoint.id],
      ["holds", contents(checkpoint)],
      ["size", size(checkpoint.bytes)]
    ])
  ].join("\n")

export const listed = ({ checkpoints, name, sessionId }: Results.CheckpointsResult): string =>
  checkpoints.length === 0
    ? `${name} has no checkpoints. Make one: sandbox checkpoint create ${sessionId}`
    : table([
        ["CHECKPOINT", "SAVED", "FOR", "HOLDS", "SIZE"],
        ...checkpoints.map((checkpoint) => [
          checkpoint.id,
          checkpoint.persistedAt,
          checkpoint.reason,
          contents(checkpoint),
          size(checkpoint.bytes)
        ])
      ])

export const verified = ({ checkpoints, name }: Results.VerifyCheckpointResult): string =>
  checkpoints.length === 0
    ? `${name} has no checkpoints.`
    : table([
        ["CHECKPOINT", "", "READ"],
        ...checkpoints.map(({ bytes, id, objects, problem, valid }) => [
          id,
          valid ? "whole" : (problem ?? "cannot be used"),
          valid ? `${objects} objects, ${size(bytes)}` : ""
        ])
      ])

export const removed = ({ checkpoint, name }: Results.RemoveCheckpointResult): string =>
  `${name}  ${checkpoint} removed`

export const restored = (result: Results.RestoreResult): string =>
  [
    `${result.name}  ${result.state}`,
    facts([
      ["holds", result.checkpoint],
      ["before", result.before],
      ["worktree", result.worktreePath],
      ["url", result.endpointUrl]
    ])
  ].join("\n")
