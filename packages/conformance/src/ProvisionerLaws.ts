/**
 * The laws of the provider port, as values.
 *
 * No test runner is involved: `ProvisionerTest` registers them as tests, and a program can run them against a provider
 * that is configured but unknown to us.
 */

import { Provisioner } from "@org/sandbox-core/Provisioner"
import { Effect } from "effect"
import { endpoint } from "./internal/endpoint.ts"
import { exec } from "./internal/exec.ts"
import { faults } from "./internal/faults.ts"
import { files } from "./internal/files.ts"
import { idempotency } from "./internal/idempotency.ts"
import { interruption } from "./internal/interruption.ts"
import { leaks } from "./internal/leaks.ts"
import { lifecycle } from "./internal/lifecycle.ts"
import { network } from "./internal/network.ts"
import { security } from "./internal/security.ts"
import { hasTerminal, terminal } from "./internal/terminal.ts"
import { truth } from "./internal/truth.ts"
import { workspace } from "./internal/workspace.ts"
import { type Capabilities, type Law, membersOf } from "./Law.ts"

/** Every law, in the order to run them in: the last one sees what the others left behind. */
export const laws: ReadonlyArray<Law> = [
  ...lifecycle,
  ...idempotency,
  ...truth,
  ...interruption,
  ...faults,
  ...exec,
  ...terminal,
  ...endpoint,
  ...network,
  ...files,
  ...workspace,
  ...security,
  ...leaks
]

/** What a provider can do. Asks it for a box, since only a command that wants a terminal learns whether there is one. */
export const capabilities = Effect.gen(function* () {
  const provisioner = yield* Provisioner
  const members = membersOf(provisioner)
  const can: Capabilities = {
    ...members,
    isolation: provisioner.isolation !== "none",
    terminal: members.exec && (yield* hasTerminal)
  }
  return can
})
