/** What is told of a tool that failed. */
import { assert, describe, it } from "@effect/vitest"
import { lastOf } from "../src/internal/compose/tool.ts"

describe("why a tool failed", () => {
  it("is the last line that tells of an error, whatever follows it", () => {
    const whole = `
Creating network "p_default" with the default driver
Creating p_db_1 ... error

ERROR: for p_db_1  Cannot create container for service db: no such image

ERROR: for db  Cannot create container for service db: no such image
ERROR: Encountered errors while bringing up the project.
`
    assert.strictEqual(lastOf(whole), "for db  Cannot create container for service db: no such image")
    const later = "Error response from daemon: No such image: x:1\nrun 'docker run --help' for more\n"
    assert.strictEqual(lastOf(later), "Error response from daemon: No such image: x:1")
    const away = "\nCannot connect to the Docker daemon at unix:///x. Is the docker daemon running?\n\n"
    assert.match(lastOf(away), /^Cannot connect to the Docker daemon at unix/)
  })

  it("is the last line at all where none does, and that it said nothing where it did not", () => {
    assert.strictEqual(lastOf("one\ntwo \n\n"), "two")
    assert.strictEqual(lastOf(" \n"), "it said nothing")
    assert.strictEqual(lastOf("Encountered errors while bringing up the project.\n"), "it said nothing")
  })
})
