/**
 * A session's checkout in a box that only the box can see: placed there through the provider's files, and looked at through
 * a copy on this host. The box needs a shell and no git, and learns no credentials.
 */
import { Effect, Path } from "effect"
import type { Held } from "../Claim.ts"
import type { WorkspacePlacement, WorkspaceSource } from "../Provisioner.ts"
import type { Backend } from "../Provisioners.ts"
import * as Repository from "../Repository.ts"
import * as SandboxError from "../SandboxError.ts"
import type { InstanceRef } from "../Session.ts"
import { clone } from "./boxCheckout/clone.ts"
import { send } from "./boxCheckout/copy.ts"
import { staging } from "./boxCheckout/staging.ts"
import * as swap from "./boxCheckout/swap.ts"

/** Whether the provider leaves the checkout to core, and core can place it. */
export const isOurs = ({ capabilities }: Backend): boolean =>
  !capabilities.includes("workspace") && capabilities.includes("files") && capabilities.includes("exec")

/**
 * Puts a checkout into the box, or keeps the one that is there with all its work. What a dead attempt began is finished.
 *
 * Files without a repository are refused unless `broken` ones are kept, for whoever puts that right in the box. Answers also
 * what `fill` does, of a new checkout.
 */
export const place = Effect.fnUntraced(function* <A = never, E = never, R = never>(
  held: Held,
  backend: Backend,
  {
    broken = "refused",
    fill,
    ref,
    source
  }: {
    readonly broken?: "refused" | "kept" | undefined
    /** What a new checkout is to hold, written into its directory on this host before the box gets it. */
    readonly fill?: ((directory: string) => Effect.Effect<A, E, R>) | undefined
    readonly ref: InstanceRef
    readonly source: WorkspaceSource
  }
) {
  const there = yield* held.phase("workspace", swap.standing(backend, ref))
  if (there._tag === "broken") {
    const { id, name } = yield* held.row
    if (broken === "refused") return yield* noRepository(id, name)
    return placed(source.branch, `the checkout in the box of ${name} has no git repository, and cannot be saved so`)
  }
  if (there._tag === "checkout") return placed(branchOf(there.head) ?? source.branch)
  const directory = (yield* Path.Path).join(yield* staging, "checkout")
  yield* held.phase("clone", clone(source, directory))
  const filled = fill && (yield* held.phase("restore", fill(directory)))
  yield* held.phase("copy", send(backend, ref, directory))
  return { ...placed(source.branch), filled }
}, Effect.scoped)

interface Placed extends WorkspacePlacement {
  readonly filled?: undefined
}

const placed = (branch: string, ...warnings: ReadonlyArray<string>): Placed => ({ branch, warnings })

/** The branch that git's `HEAD` names, if it is one. */
const branchOf = (head: string): string | undefined => {
  const branch = /^ref: refs\/heads\/(.+)$/.exec(head)?.[1]
  return branch === undefined || Repository.checkBranch(branch) !== undefined ? undefined : branch
}

const noRepository = (id: string, name: string) =>
  SandboxError.make("ERR_WORKSPACE_FAILED", {
    message: `the directory of the checkout in the box of ${name} has files in it, and no git repository`,
    nextStep: `start it as it is with \`sandbox resume ${id} --force\`, and put that right or take out what you need: \`sandbox cp ${id}:. <directory>\``,
    retryable: false,
    details: { path: ".git" }
  })
