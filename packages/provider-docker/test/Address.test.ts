import { assert, describe, it } from "@effect/vitest"
import * as Address from "@org/sandbox-provider-docker/Address"
import { Result } from "effect"

const address = (text: string, tls = false) => Result.getOrThrow(Address.parse(text, tls))

const refusal = (text: string) => {
  const parsed = Address.parse(text, false)
  return Result.isFailure(parsed) ? parsed.failure : assert.fail(`${text} was taken: ${JSON.stringify(parsed.success)}`)
}

describe("the address of an engine", () => {
  it("is a socket, a host and a port, or a host behind ssh", () => {
    assert.deepStrictEqual(address(Address.standard), { _tag: "unix", path: "/var/run/docker.sock" })
    assert.deepStrictEqual(address("unix:///run/user/1000/a b#?.sock"), {
      _tag: "unix",
      path: "/run/user/1000/a b#?.sock"
    })
    assert.deepStrictEqual(address("tcp://10.0.0.1:4000"), { _tag: "tcp", host: "10.0.0.1", port: 4000, tls: false })
    assert.deepStrictEqual(address("ssh://dev@build.example.com"), {
      _tag: "ssh",
      target: "dev@build.example.com",
      port: undefined,
      path: undefined
    })
  })

  it("has the engine's own ports, and those of the web where they are written down", () => {
    const port = (text: string, tls = false) => {
      const parsed = address(text, tls)
      return parsed._tag === "tcp" ? [parsed.port, parsed.tls] : assert.fail()
    }
    assert.deepStrictEqual(port("tcp://h"), [2375, false])
    assert.deepStrictEqual(port("tcp://h", true), [2376, true])
    assert.deepStrictEqual(port("https://h"), [2376, true])
    assert.deepStrictEqual(port("http://h:80"), [80, false])
    assert.deepStrictEqual(port("https://h:443/"), [443, true])
    assert.deepStrictEqual(port("tcp://[::1]:1234", true), [1234, true])
  })

  it("behind ssh has a user, a port and the path of a socket as they are", () => {
    const ssh = (text: string) => {
      const parsed = address(text)
      return parsed._tag === "ssh" ? [parsed.target, parsed.port, parsed.path] : assert.fail()
    }
    assert.deepStrictEqual(ssh("ssh://host:22"), ["host", 22, undefined])
    assert.deepStrictEqual(ssh("ssh://a%40b@host:2222/run/my%20engine.sock"), ["a@b@host", 2222, "/run/my engine.sock"])
    assert.deepStrictEqual(ssh("ssh://dev@[::1]/"), ["dev@::1", undefined, undefined])
    assert.deepStrictEqual(ssh("ssh://100%25@host"), ["100%@host", undefined, undefined])
    assert.deepStrictEqual(ssh("ssh://100%@host"), ["100%@host", undefined, undefined])
  })

  it("that cannot be used is refused with a sentence", () => {
    const shape = "is no address of an engine; write unix:///path, tcp://host:port or ssh://user@host"
    assert.strictEqual(refusal("/var/run/docker.sock"), `/var/run/docker.sock ${shape}`)
    assert.strictEqual(refusal(""), ` ${shape}`)
    const why = (text: string) => refusal(text).replace(`${text} cannot be used: `, "")
    assert.strictEqual(why("unix://docker.sock"), "its path is not absolute")
    assert.strictEqual(why("npipe:////./pipe/docker_engine"), "npipe:// is not supported")
    assert.strictEqual(why("tcp://"), "it names no host")
    assert.strictEqual(why("tcp://:2375"), "it names no host")
    assert.strictEqual(why("tcp://h:99999"), "it names no host")
    for (const text of ["tcp://h/v1.41", "tcp://u@h", "tcp://h?x", "tcp://h#x"]) {
      assert.strictEqual(why(text), "only a host and a port may stand in it")
    }
    assert.strictEqual(why("ssh://"), "it names no host")
    assert.strictEqual(why("ssh://dev:secret@h"), "a password may not stand in it: use a key")
    assert.strictEqual(why("ssh://h?x"), "only a user, a host, a port and a path may stand in it")
  })

  it("is never an option to ssh", () => {
    for (const text of ["ssh://-oProxyCommand=touch", "ssh://-oProxyCommand=touch%20x@h", "ssh://%2Dl@h"]) {
      assert.match(refusal(text), /a name in it starts with a hyphen|it names no host/)
    }
  })

  it("tells whether the engine is on this host", () => {
    for (const here of ["unix:///x", "tcp://localhost:1", "tcp://127.0.0.1", "tcp://[::1]:1"]) {
      assert.isTrue(Address.isHere(address(here)), here)
    }
    for (const there of ["tcp://10.0.0.1:1", "tcp://localhost.example.com", "ssh://localhost"]) {
      assert.isFalse(Address.isHere(address(there)), there)
    }
  })
})
