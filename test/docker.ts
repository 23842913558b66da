/**
 * Whether this machine has an engine to test with: the one that DOCKER_HOST or the usual socket leads to, and the images
 * that `scripts/docker-images.sh` makes.
 *
 * Where there is none its tests are skipped with that reason in their name; naming `docker` in SANDBOX_TEST_REQUIRE turns
 * that into a failure.
 */
import { Effect } from "effect"
import { describe } from "vitest"
import { images, request, socket } from "./support/docker.ts"

const missing = Effect.gen(function* () {
  if (!socket.startsWith("/")) return `DOCKER_HOST is ${socket}, and no socket of this host`
  yield* request("GET", "/_ping")
  for (const image of Object.values(images)) {
    const { status } = yield* request("GET", `/images/${image}/json`)
    if (status === 404) return `there is no image ${image}: scripts/docker-images.sh makes it`
  }
  return undefined
}).pipe(
  Effect.timeout("10 seconds"),
  Effect.catch((error) => Effect.succeed(`no engine answers at ${socket}: ${error.message}`))
)

const why = await Effect.runPromise(missing)

if (why !== undefined && (process.env["SANDBOX_TEST_REQUIRE"] ?? "").split(",").includes("docker")) {
  throw new Error(`SANDBOX_TEST_REQUIRE names docker, but ${why}`)
}

/** Whether there is one. */
export const hasDocker = why === undefined

/** A `describe` of what needs an engine. */
export const describeDocker = (name: string, tests: () => void): void => {
  if (why === undefined) describe(name, tests)
  else describe.skip(`${name} (skipped: ${why})`, tests)
}
