/** What a command runs with: types alone, so that a command without configuration loads nothing for it. */
import type { Provisioner, Provisioners } from "@org/sandbox-core"
import type * as Configuration from "@org/sandbox-core/Configuration"
import type * as Trust from "@org/sandbox-core/Trust"
import type { Layer } from "effect"

/** Where to look, and what the command line says. */
export interface Request {
  /** `--config`: takes the place of the project's file. */
  readonly config?: string | undefined
  /** The repository that a session is to be made of; that of the current directory, when absent. */
  readonly repository?: string | undefined
  /** Also look into a repository that is not on this host, and say so; with `required` it has to be there. */
  readonly remote?: { readonly quiet: boolean; readonly required?: boolean | undefined } | undefined
  /** The repository's own file is meant, whatever file the user chose instead of it. */
  readonly ownOnly?: boolean | undefined
  /** The user accepts the project's file with this command. */
  readonly accepted?: boolean | undefined
  /** No file and no variable is read: only what was typed holds. */
  readonly typedOnly?: boolean | undefined
  /** Values of flags, with the key that each of them sets and the flag's name. */
  readonly flags?: ReadonlyArray<readonly [path: ReadonlyArray<string>, flag: string, value: unknown]> | undefined
}

export interface Loaded {
  readonly effective: Configuration.Effective
  /** What is not wrong, but not as it was meant either. */
  readonly warnings: ReadonlyArray<string>
  /** The project's file, unless the user chose it: it counts for this host once it was accepted. */
  readonly claimed: Trust.Claimed | undefined
  /** The digest of the compose files beside the project's file, where that names any: what a session's checkout must have. */
  readonly composed: string | undefined
  /** What `sandbox up` brings up. */
  readonly repository: string
  /** The directory that paths in what says this are relative to; the current one, when absent. */
  readonly folderOf: (path: Configuration.Path) => string | undefined
  /** Built-in providers and those of the configuration. */
  readonly providers: Layer.Layer<Provisioners.Provisioners, never, Provisioner.ProviderServices>
  /** Times, sizes and credentials of the programs. */
  readonly settings: Layer.Layer<never>
}
