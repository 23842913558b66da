/**
 * The laws of the provider port, as values.
 *
 * No test runner is involved: `ProvisionerTest` registers them as tests, and a program can run them against a provider
 * that is configured but unknown to us.
 */

import { exec } from "./internal/exec.ts"
import { idempotency } from "./internal/idempotency.ts"
import { interruption } from "./internal/interruption.ts"
import { leaks } from "./internal/leaks.ts"
import { lifecycle } from "./internal/lifecycle.ts"
import { truth } from "./internal/truth.ts"
import { workspace } from "./internal/workspace.ts"
import type { Law } from "./Law.ts"

/** Every law, in the order to run them in: the last one sees what the others left behind. */
export const laws: ReadonlyArray<Law> = [
  ...lifecycle,
  ...idempotency,
  ...truth,
  ...interruption,
  ...exec,
  ...workspace,
  ...leaks
]
