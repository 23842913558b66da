/** Services that say that the work of their session is done. */
import { Effect } from "effect"
import type { Backend } from "../Provisioners.ts"
import type { InstanceRef, Session } from "../Session.ts"
import type * as Setup from "../Setup.ts"
import { variablesFile } from "./environment.ts"
import * as inBox from "./inBox.ts"
import * as supervisor from "./supervisor.ts"

/** Whether a service that is not running has done what it was to do. */
export const hasDone = ({ completes }: Setup.Service, status: supervisor.Status | undefined): boolean =>
  completes === "exit" && status?._tag === "exited" && status.code === 0

/**
 * Arguments are pairs of a name and a path, which is empty where the end of the service counts. A line for each name that
 * says it is done. Bringing a session up writes its environment anew, so that what is older was said of an earlier time.
 */
const look = `${supervisor.common}
while [ $# -gt 1 ]; do
  dir=$SANDBOX_RUN_DIR/services/$1
  code=
  alive "$dir" || { [ -f "$dir/exit" ] && read -r code _ <"$dir/exit"; }
  if [ -n "$2" ]; then
    [ "\${code:-0}" = 0 ] && [ -f "$2" ] && find -H "$2" -prune -newer "$SANDBOX_RUN_DIR/${variablesFile}" | grep -q . && echo "$1"
  elif [ "$code" = 0 ]; then
    echo "$1"
  fi
  shift 2
done
`

/** What says that the work of a ready session is done, as a sentence; none where nothing does. Only looks. */
export const signalOf = Effect.fnUntraced(function* (backend: Backend, ref: InstanceRef, { setup, state }: Session) {
  const wanted = (setup?.services ?? []).filter(({ completes }) => completes !== undefined)
  if (wanted.length === 0 || state !== "ready") return undefined
  const args = wanted.flatMap(({ completes, name }) => [
    name,
    typeof completes === "object" ? `./${completes.file}` : ""
  ])
  const said = yield* inBox.mustRun(backend, ref, "looking for what completes the session", { script: look, args })
  const [first] = said.split("\n")
  const service = wanted.find(({ name }) => name === first)
  if (service === undefined) return undefined
  return typeof service.completes === "object"
    ? `its service ${service.name} has written ${service.completes.file}`
    : `its service ${service.name} has ended with exit code 0`
})
