/** Where an engine listens, as `DOCKER_HOST` writes it. */
import { Result } from "effect"

export type Address =
  | { readonly _tag: "unix"; readonly path: string }
  | { readonly _tag: "tcp"; readonly host: string; readonly port: number; readonly tls: boolean }
  /** Through `ssh` and the engine's own command on the other side, as the docker command does. */
  | {
      readonly _tag: "ssh"
      readonly target: string
      readonly port: number | undefined
      readonly path: string | undefined
    }

/** Where an engine listens that nobody has moved. */
export const standard = "unix:///var/run/docker.sock"

/** Reads an address; `tls` is whether TCP is to be encrypted where the scheme does not say so. The failure is a sentence. */
export const parse = (text: string, tls: boolean): Result.Result<Address, string> => {
  const [, scheme, rest] = /^([a-z+]+):\/\/(.*)$/.exec(text) ?? []
  if (scheme === undefined || rest === undefined) {
    return Result.fail(`${text} is no address of an engine; write unix:///path, tcp://host:port or ssh://user@host`)
  }
  switch (scheme) {
    case "unix":
      return rest.startsWith("/")
        ? Result.succeed({ _tag: "unix", path: rest })
        : unusable(text, "its path is not absolute")
    case "tcp":
    case "http":
    case "https": {
      const secure = scheme === "https" || tls
      const url = parsed("tcp", rest)
      if (url === undefined || url.hostname === "") return unusable(text, "it names no host")
      if (!["", "/"].includes(url.pathname) || `${url.username}${url.password}${url.search}${url.hash}` !== "") {
        return unusable(text, "only a host and a port may stand in it")
      }
      // the engine's own ports: https://docs.docker.com/reference/cli/dockerd/
      const port = url.port === "" ? (secure ? 2376 : 2375) : Number(url.port)
      return Result.succeed({ _tag: "tcp", host: url.hostname, port, tls: secure })
    }
    case "ssh": {
      const url = parsed("ssh", rest)
      if (url === undefined || url.hostname === "") return unusable(text, "it names no host")
      if (url.password !== "") return unusable(text, "a password may not stand in it: use a key")
      if (`${url.search}${url.hash}` !== "")
        return unusable(text, "only a user, a host, a port and a path may stand in it")
      const user = decoded(url.username)
      const host = url.hostname.replace(/^\[(.*)\]$/, "$1")
      // what `ssh` would read as an option is never a host
      if (user.startsWith("-") || host.startsWith("-")) return unusable(text, "a name in it starts with a hyphen")
      return Result.succeed({
        _tag: "ssh",
        target: user === "" ? host : `${user}@${host}`,
        port: url.port === "" ? undefined : Number(url.port),
        path: url.pathname === "" || url.pathname === "/" ? undefined : decoded(url.pathname)
      })
    }
    default:
      return unusable(text, `${scheme}:// is not supported`)
  }
}

const unusable = (text: string, why: string) => Result.fail(`${text} cannot be used: ${why}`)

// of a scheme that URLs know nothing of, whose usual port would be left out of them
const parsed = (scheme: "tcp" | "ssh", rest: string): URL | undefined => {
  const text = `${scheme}://${rest}`
  return URL.canParse(text) ? new URL(text) : undefined
}

const decoded = (text: string): string =>
  Result.getOrElse(
    Result.try(() => decodeURIComponent(text)),
    () => text
  )

/** Whether the engine is on this host, as far as its address says. */
export const isHere = (address: Address): boolean =>
  address._tag === "unix" || (address._tag === "tcp" && ["localhost", "127.0.0.1", "[::1]"].includes(address.host))
