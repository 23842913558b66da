import { Provisioner } from "@org/sandbox-core/Provisioner"
import { InstanceRef } from "@org/sandbox-core/Session"
import { Effect, Stream } from "effect"
import * as Faults from "../Faults.ts"
import { achieved, dispatched, hurried, refused } from "./dispatch.ts"
import {
  broken,
  capability,
  eventually,
  halt,
  inGroup,
  listed,
  newBox,
  newIntent,
  observed,
  otherLedger,
  same,
  workspaceSource
} from "./kit.ts"

const law = inGroup("faults")

/** What goes wrong on the way to a platform and back loses nothing and makes nothing twice. */
export const faults = [
  law(
    "I-105 a create whose reply was lost is repeated, and makes no second box",
    [],
    Effect.gen(function* () {
      const { backend, faults } = yield* dispatched
      const other = yield* otherLedger
      const intent = yield* newIntent(other)
      yield* faults.script("provision", Faults.okThenLoseReply)
      const ref = yield* achieved("provision", backend.provision(intent))
      yield* same("calls of provision", faults.started("provision").length, 2)
      yield* eventually("list", listed(other), [intent.key])
      const found = yield* backend.find(intent)
      yield* same("find", found._tag === "present" ? found.ref.id : found._tag, ref.id)
    })
  ),
  law(
    "I-106 a create that never got a reply is removed by its key",
    [],
    Effect.gen(function* () {
      const { backend, faults } = yield* dispatched
      const other = yield* otherLedger
      const intent = yield* newIntent(other)
      yield* faults.always("provision", Faults.okThenLoseReply)
      const { details } = yield* refused("provision", backend.provision(intent))
      yield* same("outcome", details?.["outcome"], "unknown")
      yield* achieved("destroy", backend.destroy({ scope: intent.scope, key: intent.key, ref: null }))
      yield* eventually("list", listed(other), [])
    })
  ),
  law(
    "I-103 a stop whose reply was lost is success when it is repeated",
    [],
    Effect.gen(function* () {
      const { backend, faults } = yield* dispatched
      const ref = yield* newBox
      yield* faults.script("stop", Faults.okThenLoseReply)
      yield* achieved("stop", backend.stop(ref))
      yield* same("calls of stop", faults.started("stop").length, 2)
      yield* observed(ref, backend.haltIsTerminal ? "gone" : "stopped")
    })
  ),
  law(
    "I-103 a destroy whose reply was lost is success when it is repeated",
    [],
    Effect.gen(function* () {
      const { backend, faults } = yield* dispatched
      const ref = yield* newBox
      yield* faults.script("destroy", Faults.okThenLoseReply)
      yield* achieved("destroy", backend.destroy({ scope: ref.scope, key: ref.key, ref }))
      yield* same("calls of destroy", faults.started("destroy").length, 2)
      yield* observed(ref, "gone")
    })
  ),
  law(
    "a start whose reply was lost is success when it is repeated",
    ["start"],
    Effect.gen(function* () {
      const { backend, faults } = yield* dispatched
      const ref = yield* newBox
      yield* halt(ref)
      yield* faults.script("start", Faults.okThenLoseReply)
      yield* achieved("start", backend.start(ref))
      yield* same("calls of start", faults.started("start").length, 2)
      yield* observed(ref, "running")
    })
  ),
  law(
    "a checkout whose reply was lost is there once when it is asked for again",
    ["workspace", "workspaceSource"],
    Effect.gen(function* () {
      const { backend, faults } = yield* dispatched
      const { detach } = yield* capability("workspace")
      const source = yield* workspaceSource
      const ref = yield* newBox
      yield* Effect.addFinalizer(() =>
        Effect.ignore(detach(ref), { log: "Warn", message: `The checkout of ${ref.id} may be left.` })
      )
      yield* faults.script("workspace.attach", Faults.okThenLoseReply)
      yield* achieved("workspace.attach", backend.attach(ref, source))
      yield* same("calls of workspace.attach", faults.started("workspace.attach").length, 2)
      const clean = { present: true, dirtyFiles: 0, unpublishedCommits: 0 }
      yield* same("workspace.status", yield* achieved("workspace.status", backend.workspaceStatus(ref)), clean)
    })
  ),
  law(
    "I-104 a box that cannot be reached is unknown, and there as before once it can be",
    [],
    Effect.gen(function* () {
      const { backend, faults } = yield* dispatched
      const ref = yield* newBox
      const seen = Effect.gen(function* () {
        return [(yield* backend.find(ref))._tag, (yield* backend.inspect(ref))._tag]
      }).pipe(hurried)
      const looks = ["find", "inspect"] as const
      yield* Effect.forEach(looks, (op) => faults.always(op, Faults.fail("Unreachable", "unknown")))
      yield* same("find and inspect", yield* seen, ["unknown", "unknown"])
      yield* Effect.forEach(looks, (op) => faults.always(op, Faults.ok))
      yield* eventually("find and inspect", seen, ["present", "running"])
    })
  ),
  law(
    "I-104 a list that cannot be had is a failure, and holds every box once it can be",
    [],
    Effect.gen(function* () {
      const { backend, faults } = yield* dispatched
      const other = yield* otherLedger
      const { key } = yield* Effect.tap(newIntent(other), (yield* Provisioner).provision)
      yield* eventually("list", listed(other), [key])
      yield* faults.script("list", Faults.fail("Unreachable", "unknown"))
      yield* refused("list", Stream.runCollect(backend.list(other)))
      const boxes = yield* achieved("list", Stream.runCollect(backend.list(other)))
      yield* same(
        "list",
        boxes.map(({ ref }) => ref.key),
        [key]
      )
    })
  ),
  law(
    "I-104 a box of another place is unknown, is not touched from here, and is there in its own",
    [],
    Effect.gen(function* () {
      const { backend, faults } = yield* dispatched
      const ref = yield* newBox
      const elsewhere = new InstanceRef({ ...ref, scope: `${ref.scope}-elsewhere` })
      const seen = [(yield* hurried(backend.find(elsewhere)))._tag, (yield* hurried(backend.inspect(elsewhere)))._tag]
      yield* same("find and inspect in another place", seen, ["unknown", "unknown"])
      yield* refused("stop in another place", backend.stop(elsewhere))
      yield* refused("destroy in another place", backend.destroy({ ...elsewhere, ref: elsewhere }))
      if (faults.started("find", "inspect", "stop", "destroy").length > 0) {
        return yield* broken("The provider was asked about a box of another place.")
      }
      yield* same("find", (yield* hurried(backend.find(ref)))._tag, "present")
      yield* same("inspect", (yield* hurried(backend.inspect(ref)))._tag, "running")
    })
  )
]
