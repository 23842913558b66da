/** What can go wrong, in the port's words. */
import { GitError } from "@org/sandbox-core/Git"
import { ProvisionerError, type Reason } from "@org/sandbox-core/Provisioner"
import { Data, Effect, PlatformError } from "effect"

/** The provider's name, in references and in errors. */
export const name = "folders"

/** We refuse, and nothing was done. */
export class Refusal extends Data.TaggedError("Refusal")<{ readonly reason: Reason; readonly message: string }> {}

/**
 * The one place that reads errors of others. A call that failed may have been carried out in part, so its outcome is
 * `unknown`; and a system's text may quote a command, so it is not passed on.
 */
export const classify =
  (operation: string) =>
  (cause: unknown): ProvisionerError => {
    if (cause instanceof Refusal) {
      const { message, reason } = cause
      return new ProvisionerError({ provider: name, operation, reason, outcome: "not_applied", message })
    }
    const tag = PlatformError.isPlatformError(cause) ? cause.reason._tag : "Unknown"
    const reason = tag === "NotFound" ? "NotFound" : tag === "PermissionDenied" ? "Unauthorized" : "Unknown"
    const message =
      cause instanceof GitError
        ? `${cause.message}. Check the repository and try again.`
        : `${operation} failed on this host (${tag}). Check the box's directory, and the command where there is one.`
    return new ProvisionerError({ provider: name, operation, reason, outcome: "unknown", message })
  }

/** What is missing is not always an error: somebody else may have removed it a moment ago. */
export const orWhenMissing = <A, R>(effect: Effect.Effect<A, PlatformError.PlatformError, R>, instead: A) =>
  Effect.catchReason(effect, "PlatformError", "NotFound", () => Effect.succeed(instead))
