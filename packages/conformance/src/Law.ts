/** What a law is: a sentence about every provider, and the effect that fails when one breaks it. */

import type { Provisioner, ProvisionerError, ProvisionerShape, WorkspaceSource } from "@org/sandbox-core/Provisioner"
import { Spec } from "@org/sandbox-core/Session"
import { Context, type Duration, Effect, Layer, Random, Schema, type Scope } from "effect"
import { type Commands, shell } from "./Commands.ts"

/** A provider that does not do what the port's contract says. */
export class LawBroken extends Schema.TaggedError<LawBroken>("@org/sandbox-conformance/LawBroken")("LawBroken", {
  /** The law's name. */
  law: Schema.String,
  /** What was expected and what was seen instead. */
  message: Schema.String
}) {}

/** What the laws are about, in the order they are best run in. */
export const groups = [
  "lifecycle",
  "idempotency",
  "truth",
  "labels",
  "interruption",
  "faults",
  "exec",
  "terminal",
  "endpoint",
  "network",
  "files",
  "data",
  "workspace",
  "security",
  "leaks"
] as const
export type Group = (typeof groups)[number]

/** The members of the port that a provider may leave out. */
export type Capability = "endpoint" | "exec" | "files" | "network" | "start" | "workspace"

/** What no member tells: whether commands can have a terminal, and whether a box is kept from its host at all. */
export type Trait = "isolation" | "terminal"

/** What is no ability of the provider: that there is a checkout to place, and that core has to place it. */
export type Circumstance = "emptyCheckout" | "workspaceSource"

/** What a provider can do. */
export type Capabilities = Readonly<Record<Capability | Trait, boolean>>

/** Which optional members a provider has. */
export const membersOf = (provisioner: ProvisionerShape): Readonly<Record<Capability, boolean>> => ({
  endpoint: provisioner.endpoint !== undefined,
  exec: provisioner.exec !== undefined,
  files: provisioner.files !== undefined,
  network: provisioner.network !== undefined,
  start: provisioner.start !== undefined,
  workspace: provisioner.workspace !== undefined
})

/** A sentence that holds for every provider that has what it needs. */
export interface Law {
  /** Unique; a sentence in the present. */
  readonly name: string
  readonly group: Group
  readonly needs: ReadonlyArray<Capability | Trait | Circumstance>
  /** Fails where the law does not hold. What it makes is destroyed when its scope closes. */
  readonly check: Effect.Effect<void, LawBroken | ProvisionerError, Provisioner | LawContext | Scope.Scope>
}

const absences = {
  emptyCheckout: "the provider places the checkout itself",
  endpoint: "the provider has no endpoint",
  exec: "the provider has no exec",
  files: "the provider has no files",
  isolation: "the provider isolates nothing, and says so",
  network: "the provider has no network",
  start: "the provider has no start",
  terminal: "the provider gives commands no terminal",
  workspace: "the provider has no workspace",
  workspaceSource: "no workspaceSource was given"
} as const

/** Why a law cannot be checked; none when it can. */
export const skipReason = (law: Law, has: Capabilities & { readonly workspaceSource: boolean }): string | undefined => {
  const all = { ...has, emptyCheckout: !has.workspace }
  const absent = law.needs.find((need) => !all[need])
  return absent === undefined ? undefined : absences[absent]
}

/** What the laws have to be told about the provider; everything has a default. */
export interface Options {
  /** How to do things in a box; `sh` when absent. */
  readonly commands?: Commands | undefined
  /** What boxes to ask for; the provider's default when absent. */
  readonly spec?: Spec | undefined
  /** A checkout to place; the laws about checkouts are skipped when absent. */
  readonly workspaceSource?: WorkspaceSource | undefined
  /** How long a platform may take until what it was told can be seen; 30 seconds when absent. */
  readonly patience?: Duration.Input | undefined
}

/** One run of the laws. */
export class LawContext extends Context.Service<
  LawContext,
  {
    /** Stands in the label of every box of this run, and of no other. */
    readonly ledgerId: string
    readonly commands: Commands
    readonly spec: Spec
    readonly workspaceSource: WorkspaceSource | undefined
    readonly patience: Duration.Input
  }
>()("@org/sandbox-conformance/LawContext") {
  static readonly layer = (options: Options = {}): Layer.Layer<LawContext> =>
    Layer.effect(
      LawContext,
      Effect.map(randomName, (name) => ({
        ledgerId: `ldg_${name}`,
        commands: options.commands ?? shell,
        spec: options.spec ?? new Spec({}),
        workspaceSource: options.workspaceSource,
        patience: options.patience ?? "30 seconds"
      }))
    )
}

/** Letters and digits that no other run and no other box has. */
export const randomName: Effect.Effect<string> = Effect.map(
  Effect.replicateEffect(Random.nextIntBetween(0, 36), 20),
  (digits) => digits.map((digit) => digit.toString(36)).join("")
)
