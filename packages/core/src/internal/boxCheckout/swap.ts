/**
 * Putting a checkout in the place of what a box has, by nothing but a shell and the provider's archives.
 *
 * What comes is unpacked in the run directory, on the same file system, and then moved entry by entry: the checkout's own
 * directory may be a mount point. While that is under way a mark stands in the checkout that it is no whole one. Whoever
 * comes after a process that died finishes what it began, under a name of its own: what still runs of the dead one finds
 * nothing to move any more, and nowhere to move anything to. So each step moves something out of the attempt's directory or
 * into it, the mark as well, and none makes that directory anew.
 */
import { Effect, type Stream } from "effect"
import { Ids } from "../../Ids.ts"
import type { Backend } from "../../Provisioners.ts"
import * as SandboxError from "../../SandboxError.ts"
import type { InstanceRef } from "../../Session.ts"
import * as inBox from "../inBox.ts"
import { staging as mark } from "../work/checkout.ts"

/** In the mark: by its name alone it may be anybody's. */
export const begun = "placing"

/** What stands where the checkout belongs. */
export type Standing =
  /** Nobody has worked there. */
  | { readonly _tag: "nothing" }
  /** Files without a repository. */
  | { readonly _tag: "broken" }
  /** `head`: the first line of git's `HEAD`, by whoever works in the box. */
  | { readonly _tag: "checkout"; readonly head: string }

/**
 * `$1` names the attempt. In its directory stands `incoming` while it is unpacked, `new` once that is whole, `moving` once
 * what was there before is out of the way, in `old`.
 */
const functions = `
work=\${SANDBOX_WORKSPACE:?}
run=\${SANDBOX_RUN_DIR:?}
mark=$work/${mark}
own=$run/checkout-$1

exists() { [ -e "$1" ] || [ -L "$1" ]; }

discard() {
  rm -rf "$1" 2>/dev/null && return
  chmod -R u+rwx "$1"
  rm -rf "$1"
}

# a directory that may not be written cannot change its parent
move() {
  if [ -d "$1" ] && [ ! -L "$1" ] && [ ! -w "$1" ]; then
    chmod u+w "$1" && mv "$1" "$2/" && chmod u-w "$2/\${1##*/}"
  else
    mv -f "$1" "$2/"
  fi
}

finish() {
  if [ -d "$own/new" ]; then
    [ -d "$own/old" ] || mkdir "$own/old" || return
    if exists "$mark" && ! exists "$mark/${begun}"; then move "$mark" "$own/old" || return; fi
    if ! exists "$mark"; then
      [ -d "$own/mark" ] || mkdir "$own/mark" || return
      [ -d "$own/mark/${begun}" ] || mkdir "$own/mark/${begun}" || return
      mv "$own/mark" "$mark" || return
    fi
    for entry in "$work"/* "$work"/.[!.]* "$work"/..?*; do
      if exists "$entry" && [ "$entry" != "$mark" ]; then move "$entry" "$own/old" || return; fi
    done
    mv "$own/new" "$own/moving" || return
  fi
  for entry in "$own/moving"/* "$own/moving"/.[!.]* "$own/moving"/..?*; do
    exists "$entry" && [ "\${entry##*/}" != ${mark} ] || continue
    if exists "$work/\${entry##*/}"; then
      [ -d "$own/late" ] || mkdir "$own/late" || return
      move "$work/\${entry##*/}" "$own/late" || return
    fi
    move "$entry" "$work" || return
  done
  if exists "$mark"; then move "$mark" "$own" || return; fi
  # what cannot be removed is in nobody's way from here on
  mv "$own" "$run/replaced-$1" && discard "$run/replaced-$1"
  return 0
}
`

const look = `${functions}
for left in "$run"/checkout-*; do
  [ -d "$left" ] || continue
  mv "$left" "$own" || exit 1
  if [ -d "$own/new" ] || [ -d "$own/moving" ]; then finish "$1"; else discard "$own"; fi || exit 1
done
# a mark that nobody set who is still to be finished says nothing
if exists "$mark/${begun}"; then discard "$mark" || exit 1; fi
there=nothing
for entry in "$work"/* "$work"/.[!.]* "$work"/..?*; do
  if exists "$entry"; then there=broken; break; fi
done
if [ $there = broken ] && exists "$work/.git"; then there=checkout; fi
printf '%s\\n' $there
head=
[ $there != checkout ] || { IFS= read -r head <"$work/.git/HEAD"; } 2>/dev/null
printf %s "$head"
`

const begin = `${functions}
mkdir "$own" "$own/incoming" && printf %s "$own/incoming"
`

const commit = `${functions}
mv "$own/incoming" "$own/new" && finish "$1"
`

/** Finishes what a dead process began, and says what is there then. */
export const standing = Effect.fnUntraced(function* (backend: Backend, ref: InstanceRef) {
  const said = yield* run(backend, ref, { script: look, args: [yield* attempt] })
  const [tag = "", head = ""] = said.split("\n")
  return tag === "checkout"
    ? ({ _tag: "checkout", head } satisfies Standing)
    : ({ _tag: tag === "broken" ? "broken" : "nothing" } satisfies Standing)
})

/** Puts what an archive holds in the place of all that is there. */
export const replace = Effect.fnUntraced(function* (
  backend: Backend,
  ref: InstanceRef,
  archive: Stream.Stream<Uint8Array>
) {
  const args = [yield* attempt]
  const incoming = yield* run(backend, ref, { script: begin, args })
  yield* backend.writeFiles(ref, incoming, archive)
  yield* run(backend, ref, { script: commit, args })
})

const attempt = Effect.flatMap(Ids, (ids) => ids.next("run"))

const run = (backend: Backend, ref: InstanceRef, options: Parameters<typeof inBox.mustRun>[3]) =>
  Effect.mapError(inBox.mustRun(backend, ref, "putting the checkout in place", options), (error) =>
    error.code === "ERR_EXEC_FAILED" ? SandboxError.make("ERR_WORKSPACE_FAILED", SandboxError.fields(error)) : error
  )
