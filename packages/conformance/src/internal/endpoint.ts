import { Provisioner } from "@org/sandbox-core/Provisioner"
import { Effect } from "effect"
import { broken, capability, eventually, inGroup, newBox, observed, ports, same } from "./kit.ts"

const law = inGroup("endpoint")

/** What listens in a box can be reached from here. */
export const endpoint = [
  law(
    "a port of a box has a URL of its own without a path, which is that port of this host where boxes share them",
    ["endpoint"],
    Effect.gen(function* () {
      const endpoint = yield* capability("endpoint")
      const { hostPorts } = yield* Provisioner
      const ref = yield* newBox
      const urls = yield* Effect.forEach(ports, (port) => endpoint(ref, port))
      yield* same("different URLs", new Set(urls).size, ports.length)
      for (const [index, port] of ports.entries()) {
        const text = urls[index] ?? ""
        const url = URL.canParse(text) ? new URL(text) : undefined
        if (url === undefined || url.pathname !== "/" || text.endsWith("/") || `${url.search}${url.hash}` !== "") {
          return yield* broken(`endpoint: ${text} is no URL without a path.`)
        }
        if (url.username !== "" || url.password !== "") {
          return yield* broken("endpoint: a URL that is recorded and shown holds credentials.")
        }
        if (hostPorts !== true) continue
        yield* same("port", url.port, String(port))
        if (!["127.0.0.1", "[::1]", "localhost"].includes(url.hostname)) {
          return yield* broken(`endpoint: boxes share the ports of this host, and ${text} is somewhere else.`)
        }
      }
    })
  ),
  law(
    "a port of a box that is gone is refused as NotFound",
    ["endpoint"],
    Effect.gen(function* () {
      const endpoint = yield* capability("endpoint")
      const ref = yield* newBox
      yield* (yield* Provisioner).destroy(ref)
      yield* observed(ref, "gone")
      const answer = Effect.match(endpoint(ref, ports[0]), {
        onFailure: ({ reason }): string => reason,
        onSuccess: (url) => url
      })
      yield* eventually("endpoint", answer, "NotFound")
    })
  )
]
