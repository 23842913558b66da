/** A headless Chromium, spoken to over its own pipe: no port, no package, no password on a command line. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { existsSync } from "node:fs"
import { delimiter, join } from "node:path"
import type { Readable, Writable } from "node:stream"

export interface Credentials {
  readonly username: string
  readonly password: string
}

/** A page that was opened. */
export interface Page {
  /** Of the page itself; none where nothing answered. */
  readonly status: number | undefined
  /** What a script in the page answers; it must be JSON. */
  readonly evaluate: (script: string) => Promise<unknown>
}

export interface Browser {
  /** Opens an address; `credentials` is what is typed where a password is asked for, and nothing is when absent. */
  readonly open: (url: string, credentials?: Credentials) => Promise<Page>
  readonly close: () => Promise<void>
}

/** The program, where it is installed. */
export const installed = (): string | undefined =>
  ["chromium", "chromium-browser", "google-chrome"]
    .flatMap((name) => (process.env["PATH"] ?? "").split(delimiter).map((directory) => join(directory, name)))
    .find((file) => existsSync(file))

type Message = { readonly [key: string]: unknown }

/** The parts of a message of the DevTools protocol that are looked at here. */
interface Received {
  readonly id?: number
  readonly method?: string
  readonly sessionId?: string
  readonly params: {
    readonly requestId: string
    readonly type?: string
    readonly response: { readonly status: number }
  }
  readonly result?: Message
  readonly error?: { readonly message: string }
}

/** `profile` is a directory of its own, for all that the browser writes. */
export const launch = async (program: string, profile: string): Promise<Browser> => {
  const args = ["--headless=new", "--no-sandbox", "--no-first-run", "--disable-gpu", "--disable-dev-shm-usage"]
  const child = spawn(program, [...args, `--user-data-dir=${profile}`, "--remote-debugging-pipe", "about:blank"], {
    // its crash handler and caches look here
    env: { ...process.env, HOME: profile, XDG_CONFIG_HOME: profile, XDG_CACHE_HOME: profile },
    stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"]
  })
  const ended = once(child, "exit")
  const toBrowser = child.stdio[3] as Writable
  const fromBrowser = child.stdio[4] as Readable
  const answers = new Map<number, PromiseWithResolvers<Message>>()
  const listeners = new Set<(event: Received) => void>()
  let last = 0

  const send = (method: string, params: Message = {}, sessionId?: string): Promise<Message> => {
    const answer = Promise.withResolvers<Message>()
    answers.set(++last, answer)
    toBrowser.write(`${JSON.stringify({ id: last, method, params, ...(sessionId && { sessionId }) })}\0`)
    return answer.promise
  }
  const receive = (message: Received) => {
    if (message.id === undefined) return listeners.forEach((listener) => listener(message))
    const answer = answers.get(message.id)
    answers.delete(message.id)
    if (message.error === undefined) answer?.resolve(message.result ?? {})
    else answer?.reject(new Error(message.error.message))
  }
  let rest = ""
  fromBrowser.setEncoding("utf8").on("data", (text: string) => {
    const messages = `${rest}${text}`.split("\0")
    rest = messages.pop() ?? ""
    for (const message of messages) receive(JSON.parse(message))
  })
  const gone = () => answers.forEach(({ reject }) => reject(new Error("the browser has ended")))
  child.once("exit", gone).once("error", gone)
  toBrowser.on("error", gone)

  const open = async (url: string, credentials?: Credentials): Promise<Page> => {
    // a context of its own remembers no password of another page
    const { browserContextId } = await send("Target.createBrowserContext")
    const { targetId } = await send("Target.createTarget", { url: "about:blank", browserContextId })
    const { sessionId } = await send("Target.attachToTarget", { targetId, flatten: true })
    const page = (method: string, params?: Message) => send(method, params, sessionId as string)
    // a request may be gone by the time it is answered, and so may the browser
    const answer = (method: string, params: Message) => void page(method, params).catch(() => {})
    let status: number | undefined
    const loaded = Promise.withResolvers<void>()
    child.once("exit", () => loaded.reject(new Error("the browser has ended")))
    listeners.add(({ method, params, sessionId: from }) => {
      if (from !== sessionId) return
      if (method === "Page.loadEventFired") loaded.resolve()
      if (method === "Network.responseReceived" && params.type === "Document") status = params.response.status
      if (method === "Fetch.requestPaused") answer("Fetch.continueRequest", { requestId: params.requestId })
      if (method === "Fetch.authRequired") {
        const response = credentials === undefined ? "CancelAuth" : "ProvideCredentials"
        const authChallengeResponse = { response, ...credentials }
        answer("Fetch.continueWithAuth", { requestId: params.requestId, authChallengeResponse })
      }
    })
    await page("Page.enable")
    await page("Network.enable")
    await page("Fetch.enable", { handleAuthRequests: true })
    await page("Page.navigate", { url })
    await loaded.promise
    return {
      status,
      evaluate: async (expression) => {
        const { result } = await page("Runtime.evaluate", { expression, returnByValue: true, awaitPromise: true })
        return (result as { readonly value?: unknown }).value
      }
    }
  }

  return {
    open,
    close: async () => {
      await send("Browser.close").catch(() => child.kill("SIGKILL"))
      await ended
    }
  }
}
