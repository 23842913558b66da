/** The laws as a vitest suite: the one call that proves a provider. The only module here that knows a test runner. */
import { assert, layer } from "@effect/vitest"
import type { Provisioner } from "@org/sandbox-core/Provisioner"
import { Duration, Effect, Layer } from "effect"
import { type Capabilities, LawContext, type Options as LawOptions, skipReason } from "./Law.ts"
import { capabilities, laws } from "./ProvisionerLaws.ts"

export interface Options<E> extends LawOptions {
  /** What to call the provider in the titles of the tests. */
  readonly name: string
  /** The provider, built once for the whole suite, with the real clock. */
  readonly layer: Layer.Layer<Provisioner, E>
  /**
   * What the provider cannot do, as `false`, and `isolation: true` where a box is kept from its host, `network: true` where
   * it is a container in a network of its own. The suite fails when the provider says otherwise.
   */
  readonly capabilities?: Partial<Capabilities> | undefined
}

/**
 * Registers every law as a test of its own.
 *
 * A law that asks for what the provider has not is registered as skipped, with the reason in its title. An absence that
 * was not declared is a failure, so that a capability cannot get lost unnoticed.
 */
export const suite = <E>(options: Options<E>): void => {
  const exec = options.capabilities?.exec ?? true
  const declared: Capabilities = {
    endpoint: true,
    exec,
    files: true,
    isolation: false,
    network: false,
    start: true,
    terminal: exec,
    workspace: true,
    ...options.capabilities
  }
  const has = { ...declared, workspaceSource: options.workspaceSource !== undefined }
  // A law waits for the platform a few times at most; the rest is room for the calls themselves.
  const timeout = Duration.toMillis(Duration.fromInputUnsafe(options.patience ?? "30 seconds")) * 4
  const services = Layer.merge(options.layer, LawContext.layer(options))

  layer(services, { timeout, excludeTestServices: true })(`${options.name} keeps the laws of a provider`, (it) => {
    it.effect(
      "capabilities: it has exactly those that its suite declares",
      () => Effect.map(capabilities, (seen) => assert.deepStrictEqual(seen, declared)),
      timeout
    )
    for (const law of laws) {
      const reason = skipReason(law, has)
      const title = `${law.group}: ${law.name}`
      if (reason === undefined) it.effect(title, () => law.check, timeout)
      else it.effect.skip(`${title} (skipped: ${reason})`, () => law.check)
    }
  })
}
