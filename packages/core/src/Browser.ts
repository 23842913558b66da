/** Opening a page for the user, by whoever knows how to. Nobody does by default. */
import { Context, Duration, Effect } from "effect"

/** Shows a page and answers whether it could; cannot fail. */
export const Browser = Context.Reference<(url: string) => Effect.Effect<boolean>>("@org/sandbox-core/Browser", {
  defaultValue: () => () => Effect.succeed(false)
})

/** How long opening a page may take. */
export const patience = Duration.seconds(3)

/**
 * Shows a web page, and answers whether somebody said in time that it was opened; a browser that stays may have it open.
 *
 * An address that is no web page is not opened: what a provider or a configuration says must not start other programs.
 */
export const open = Effect.fnUntraced(function* (url: string) {
  if (!isWebPage(url)) return false
  const show = yield* Browser
  return yield* Effect.timeoutOrElse(show(url), { duration: patience, orElse: () => Effect.succeed(false) })
})

const isWebPage = (url: string): boolean => URL.canParse(url) && ["http:", "https:"].includes(new URL(url).protocol)
