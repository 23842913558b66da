import { boxVariables, Provisioner } from "@org/sandbox-core/Provisioner"
import { Effect } from "effect"
import { LawContext } from "../Law.ts"
import {
  broken,
  capability,
  checkout,
  halt,
  inGroup,
  input,
  newBox,
  newWorkBox,
  run,
  same,
  workspaceSource
} from "./kit.ts"

const clean = { present: true, dirtyFiles: 0, unpublishedCommits: 0 }
const absent = { present: false, dirtyFiles: 0, unpublishedCommits: 0 }

/** Work is never lost by accident. */
export const workspace = [
  inGroup("data")(
    "files outlive a halt and a start",
    ["exec", "start"],
    Effect.gen(function* () {
      const { commands } = yield* LawContext
      const ref = yield* newWorkBox
      yield* same("exit", (yield* run(ref, commands.save("law-file"), { stdin: input("kept") })).code, 0)
      yield* halt(ref)
      yield* (yield* capability("start"))(ref)
      yield* same("output", (yield* run(ref, commands.load("law-file"))).stdout, "kept")
    })
  ),
  inGroup("data")(
    "what is in the box's own directory outlives a halt, and is no part of the checkout",
    ["exec", "start"],
    Effect.gen(function* () {
      const { commands, workspaceSource: source } = yield* LawContext
      const { workspace: checkouts } = yield* Provisioner
      const ref = yield* newWorkBox
      const file = `${(yield* run(ref, commands.variable(boxVariables.run))).stdout.trim()}/law-file`
      yield* same("exit", (yield* run(ref, commands.save(file), { stdin: input("kept") })).code, 0)
      if (checkouts !== undefined && source !== undefined) {
        yield* same("workspace.status", yield* checkouts.status(ref), clean)
      }
      yield* halt(ref)
      yield* (yield* capability("start"))(ref)
      yield* same("output", (yield* run(ref, commands.load(file))).stdout, "kept")
    })
  ),
  inGroup("workspace")(
    "a checkout is there once it is attached, clean, and not before",
    ["workspace", "workspaceSource"],
    Effect.gen(function* () {
      const { status } = yield* capability("workspace")
      const source = yield* workspaceSource
      const ref = yield* newBox
      yield* same("workspace.status", yield* status(ref), absent)
      const { branch } = yield* checkout(ref, source)
      if (branch !== source.branch && branch !== source.fallbackBranch) {
        return yield* broken(`workspace.attach: ${branch} is neither the branch asked for nor its fallback.`)
      }
      yield* same("workspace.status", yield* status(ref), clean)
    })
  ),
  inGroup("workspace")(
    "a file written into a checkout counts as work that would be lost",
    ["workspace", "workspaceSource", "exec"],
    Effect.gen(function* () {
      const { commands } = yield* LawContext
      const { status } = yield* capability("workspace")
      const ref = yield* newWorkBox
      yield* run(ref, commands.save("law-file"), { stdin: input("work") })
      yield* same("workspace.status", yield* status(ref), { ...clean, dirtyFiles: 1 })
    })
  ),
  inGroup("workspace")(
    "attaching again keeps a checkout with its work",
    ["workspace", "workspaceSource", "exec"],
    Effect.gen(function* () {
      const { commands } = yield* LawContext
      const { attach, status } = yield* capability("workspace")
      const source = yield* workspaceSource
      const ref = yield* newBox
      const first = yield* checkout(ref, source)
      yield* run(ref, commands.save("law-file"), { stdin: input("work") })
      const second = yield* attach(ref, source)
      yield* same("workspace.attach", second.branch, first.branch)
      yield* same("workspace.attach", second.path, first.path)
      yield* same("output", (yield* run(ref, commands.load("law-file"))).stdout, "work")
      yield* same("workspace.status", yield* status(ref), { ...clean, dirtyFiles: 1 })
    })
  ),
  inGroup("workspace")(
    "a checkout and its work outlive a halt, and can be asked for during it",
    ["workspace", "workspaceSource", "exec", "start"],
    Effect.gen(function* () {
      const { commands } = yield* LawContext
      const { status } = yield* capability("workspace")
      const ref = yield* newWorkBox
      yield* run(ref, commands.save("law-file"), { stdin: input("work") })
      yield* halt(ref)
      yield* same("workspace.status", yield* status(ref), { ...clean, dirtyFiles: 1 })
      yield* (yield* capability("start"))(ref)
      yield* same("workspace.status", yield* status(ref), { ...clean, dirtyFiles: 1 })
    })
  ),
  inGroup("workspace")(
    "a detached checkout is gone, and detaching twice is success",
    ["workspace", "workspaceSource"],
    Effect.gen(function* () {
      const { detach, status } = yield* capability("workspace")
      const ref = yield* newBox
      yield* checkout(ref, yield* workspaceSource)
      yield* detach(ref)
      yield* same("workspace.status", yield* status(ref), absent)
      yield* detach(ref)
      yield* (yield* Provisioner).destroy(ref)
      yield* detach(ref)
    })
  )
]
