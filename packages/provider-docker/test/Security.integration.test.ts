/** What a box can and cannot do, tried from within it; and what the engine is seen to have done for that. */
import { readFileSync, readlinkSync } from "node:fs"
import { connect } from "node:net"
import { networkInterfaces } from "node:os"
import { assert, it } from "@effect/vitest"
import type { InstanceRef } from "@org/sandbox-core/Session"
import { Effect, Schedule, Stream } from "effect"
import { describeDocker } from "../../../test/docker.ts"
import * as Docker from "../../../test/support/docker.ts"
import { containerOf, docker, newLedger, on, run, sh } from "./boxes.ts"
import { rewritingEngine } from "./rewritingEngine.ts"

/** A box, and its container as the engine tells of it. */
const newBox = Effect.fnUntraced(function* (...more: Parameters<Effect.Success<typeof newLedger>["intent"]>) {
  const ledger = yield* newLedger
  const intent = ledger.intent(...more)
  const ref = yield* (yield* docker).provision(intent)
  return { ledger, intent, ref, container: yield* containerOf(intent.key) }
})

/** The fields of the status of the process that asks. */
const statusOf = (ref: InstanceRef, user?: string) =>
  Effect.map(
    run(ref, ["cat", "/proc/self/status"], { user }),
    ({ out }) => Object.fromEntries(out.split("\n").map((line) => line.split(":\t"))) as Record<string, string>
  )

/** Whether somebody takes a connection. */
const answers = (host: string, port: number) =>
  Effect.callback<boolean>((resume) => {
    const socket = connect({ host, port, timeout: 3000 })
    const end = (is: boolean) => () => {
      socket.destroy()
      resume(Effect.succeed(is))
    }
    socket.once("connect", end(true)).once("error", end(false)).once("timeout", end(false))
  })

const none = "0000000000000000"

describeDocker("a box", () => {
  it.live(
    "I-93 runs as somebody who is not root, on a root that is read-only, and needs nothing outside its places",
    () =>
      Effect.gen(function* () {
        const { container, ref } = yield* newBox()
        assert.deepStrictEqual(yield* (yield* docker).inspect(ref), { _tag: "running" })
        assert.strictEqual(yield* sh(ref, "id -u; id -g; pwd; echo $HOME"), "1000\n1000\n/sandbox/work\n/sandbox/home")
        const users = yield* sh(ref, "grep -h ^Uid: /proc/[0-9]*/status | sort -u")
        assert.strictEqual(users, "Uid:\t1000\t1000\t1000\t1000")
        const places = '"$SANDBOX_WORKSPACE" "$SANDBOX_RUN_DIR" "$HOME"'
        assert.strictEqual(
          yield* sh(ref, `stat -c '%u:%g %a' ${places}`),
          "1000:1000 755\n1000:1000 700\n1000:1000 700"
        )
        const write = `for place in ${places} /tmp; do echo kept >"$place/file" && cat "$place/file"; done`
        assert.strictEqual(yield* sh(ref, write), "kept\nkept\nkept\nkept")
        for (const user of [undefined, "0:0"]) {
          const write =
            "for place in / /root /etc /bin /var; do { echo x >$place/file; } 2>/dev/null && echo $place; done; :"
          assert.strictEqual(yield* sh(ref, write, { user }), "", user)
        }
        const changes = yield* Effect.orDie(Docker.request("GET", `/containers/${container.Id}/changes`))
        assert.deepStrictEqual(
          (changes.json() ?? [])
            .map(({ Path }: any) => Path)
            .filter((path: string) => !/^\/(sandbox|tmp|dev|proc|sys|sbin(\/docker-init)?$)/.test(path)),
          []
        )
      }).pipe(on({ read_only_root: true }))
  )

  it.live("runs as the user of its image, or as the one that was asked for, and all in it belongs to that user", () =>
    Effect.gen(function* () {
      const { ref } = yield* newBox({ spec: { image: Docker.images.user } })
      assert.strictEqual(yield* sh(ref, 'id -u; id -g; stat -c %u:%g "$SANDBOX_WORKSPACE"'), "1234\n1234\n1234:1234")
      const asked = Effect.gen(function* () {
        const { ref } = yield* newBox()
        assert.strictEqual(yield* sh(ref, 'id -u; id -g; stat -c %u:%g "$HOME"'), "4321\n765\n4321:765")
      })
      yield* on({ user: "4321:765" })(asked)
    }).pipe(on())
  )

  it.live("has no capability and can gain none, as root neither", () =>
    Effect.gen(function* () {
      const { ref } = yield* newBox()
      for (const user of [undefined, "0:0"]) {
        const { CapAmb, CapBnd, CapEff, CapInh, CapPrm, NoNewPrivs, Seccomp } = yield* statusOf(ref, user)
        assert.deepStrictEqual(
          { CapAmb, CapBnd, CapEff, CapInh, CapPrm, NoNewPrivs, Seccomp },
          { CapAmb: none, CapBnd: none, CapEff: none, CapInh: none, CapPrm: none, NoNewPrivs: "1", Seccomp: "2" },
          user
        )
      }
      yield* sh(ref, "cp /bin/busybox /var/tmp/id && chmod 4755 /var/tmp/id", { user: "0:0" })
      const program = yield* sh(ref, "stat -c '%u %a' /var/tmp/id; /var/tmp/id -u")
      assert.strictEqual(program, "0 4755\n1000", "a program that would run as root")
    }).pipe(on())
  )

  it.live("cannot mount, make devices, or set what is the host's, as root neither", () =>
    Effect.gen(function* () {
      const { ref } = yield* newBox()
      const attempts = [
        "mount -t tmpfs none /mnt",
        "mount -o remount,rw /proc/sys",
        "mknod /var/tmp/disk b 254 0",
        "echo 1 >/proc/sys/kernel/printk",
        "echo c >/proc/sysrq-trigger",
        "hostname other",
        "unshare -r true",
        "chroot / true",
        "ip link set lo down",
        "cat /proc/kcore | head -c 1 | grep -q .",
        "ls /sys/firmware/* | grep -q ."
      ]
      const script = attempts.map((attempt, n) => `if { ${attempt}; } >/dev/null 2>&1; then echo worked: ${n}; fi`)
      for (const user of [undefined, "0:0"]) {
        const said = yield* sh(ref, `true && echo tried\n${script.join("\n")}`, { user })
        assert.strictEqual(said, "tried", `${user ?? "its user"}: ${attempts.join("; ")}`)
      }
    }).pipe(on())
  )

  it.live("shares no process, network, or file system with the host, and finds no socket of an engine", () =>
    Effect.gen(function* () {
      const { container, ref } = yield* newBox()
      for (const space of ["mnt", "pid", "net", "ipc", "uts"]) {
        const own = yield* sh(ref, `readlink /proc/self/ns/${space}`)
        assert.match(own, new RegExp(`^${space}:`))
        assert.notStrictEqual(own, readlinkSync(`/proc/self/ns/${space}`), space)
      }
      assert.strictEqual(yield* sh(ref, "find / -xdev -type s 2>/dev/null; ls /run /var/run"), "/run:\n\n/var/run:")
      const mounts = (yield* sh(ref, "cat /proc/self/mounts")).split("\n").filter((line) => line.startsWith("/dev/"))
      assert.deepStrictEqual(mounts.map((line) => line.split(" ")[1]).sort(), [
        "/etc/hostname",
        "/etc/hosts",
        "/etc/resolv.conf",
        "/sandbox",
        "/sbin/docker-init"
      ])
      assert.isFalse(container.HostConfig.Privileged)
    }).pipe(on())
  )

  it.live("cannot be reached but by its ports, on 127.0.0.1", () =>
    Effect.gen(function* () {
      const { endpoint, exec } = yield* docker
      const { ref } = yield* newBox({ ports: [{ port: 8080 }] })
      yield* exec(ref, { argv: ["httpd", "-f", "-p", "8080", "-h", "/etc"] })
      const url = yield* endpoint(ref, 8080)
      const text = Effect.tryPromise(async () => (await fetch(`${url}/passwd`)).text())
      // it listens a moment after its start
      assert.match(yield* Effect.retry(text, { schedule: Schedule.spaced("100 millis"), times: 100 }), /^root:/)
      const port = Number(new URL(url).port)
      const listening = ["tcp", "tcp6"].flatMap((table) =>
        readFileSync(`/proc/net/${table}`, "utf8")
          .split("\n")
          .map((line) => line.trim().split(/\s+/))
          .filter(
            ([, local = "", , state]) =>
              state === "0A" && local.endsWith(`:${port.toString(16).toUpperCase().padStart(4, "0")}`)
          )
          .map(([, local]) => local?.split(":")[0])
      )
      assert.deepStrictEqual(listening, ["0100007F"])
      const addresses = Object.values(networkInterfaces()).flatMap((all) => all ?? [])
      const others = addresses.filter(({ family, internal }) => family === "IPv4" && !internal)
      assert.isNotEmpty(others)
      assert.isTrue(yield* answers("127.0.0.1", port))
      for (const { address } of others) assert.isFalse(yield* answers(address, port), address)
    }).pipe(on(), Effect.scoped)
  )

  it.live("without a network has none, and no ports", () =>
    Effect.gen(function* () {
      const { ref } = yield* newBox({ ports: [{ port: 8080 }] })
      assert.strictEqual(yield* sh(ref, "ls /sys/class/net"), "lo")
      const { message, reason } = yield* Effect.flip((yield* docker).endpoint(ref, 8080))
      assert.deepStrictEqual([reason, /has no network/.test(message)], ["Invalid", true])
    }).pipe(on({ network: "none" }))
  )

  it.live("I-96 shows nothing of what its commands are given to whoever looks at it through the engine", () =>
    Effect.gen(function* () {
      const canary = "canary-4f1c"
      const { exec, files } = yield* docker
      const { container, intent, ref } = yield* newBox()
      const stdin = Stream.concat(Stream.encodeText(Stream.make(`${canary}-in\n`)), Stream.never)
      const script = 'printenv SECRET; exec cat >"$SANDBOX_RUN_DIR/secret"'
      const handle = yield* exec(ref, { argv: ["sh", "-c", script], env: { SECRET: `${canary}-env` }, stdin })
      const said = yield* Stream.runHead(handle.output)
      assert.match(said._tag === "Some" ? Buffer.from(said.value.bytes).toString() : "", /canary-4f1c-env/)
      const { ExecIDs } = yield* Docker.inspect("containers", container.Id)
      assert.isNotEmpty(ExecIDs)
      const ask = (path: string) => Effect.map(Effect.orDie(Docker.request("GET", path)), ({ body }) => body.toString())
      const told = yield* Effect.forEach(
        [
          `/containers/${container.Id}/json`,
          `/containers/${container.Id}/logs?stdout=1&stderr=1`,
          `/containers/json?all=1`,
          `/volumes/${intent.name}`,
          ...ExecIDs.map((id: string) => `/exec/${id}/json`)
        ],
        ask
      )
      for (const text of told) assert.notInclude(text, canary)
      const missing = yield* exec(ref, { argv: ["no-such-command", canary], env: { SECRET: canary } })
      const { message } = yield* Effect.flip(Stream.runDrain(missing.output))
      assert.notInclude(message, canary)
      assert.include(message, "no-such-command")
      // what is kept in the box is for its user alone
      assert.strictEqual(yield* sh(ref, 'stat -c %a "$SANDBOX_RUN_DIR"'), "700")
      assert.isNotEmpty(yield* Stream.runCollect(files.read(ref, "/sandbox/run")))
    }).pipe(on(), Effect.scoped)
  )

  it.live("has as many processes as it may have, and no more; and can be stopped when it has them all", () =>
    Effect.gen(function* () {
      const { inspect, start, stop } = yield* docker
      const { container, ref } = yield* newBox()
      const bomb = "i=0; while [ $i -lt 200 ]; do sleep 600 & i=$((i+1)); done; wait"
      const { code } = yield* run(ref, ["sh", "-c", bomb])
      assert.notStrictEqual(code, 0)
      const top = (yield* Effect.orDie(Docker.request("GET", `/containers/${container.Id}/top`))).json()
      assert.isAtMost(top.Processes.length, 50)
      yield* stop(ref)
      assert.deepStrictEqual(yield* inspect(ref), { _tag: "stopped" })
      yield* start(ref)
      assert.strictEqual(yield* sh(ref, "echo usable"), "usable")
    }).pipe(on({ pids: 50 }))
  )

  it.live("has as much memory as it may have: what wants more is killed, and the box stays", () =>
    Effect.gen(function* () {
      const { inspect } = yield* docker
      const { ref } = yield* newBox({ spec: { memory: 32 * 2 ** 20 } })
      const { code, signal } = yield* run(ref, ["sh", "-c", 'text=x; while :; do text="$text$text"; done'])
      assert.deepStrictEqual({ code, signal }, { code: 137, signal: "SIGKILL" })
      assert.deepStrictEqual(yield* inspect(ref), { _tag: "running" })
      assert.strictEqual(yield* sh(ref, "echo usable"), "usable")
    }).pipe(on())
  )

  it.live("is limited, kept apart and labelled as the engine tells of it", () =>
    Effect.gen(function* () {
      const { container, intent } = yield* newBox({ spec: { cpus: 1, memory: 64 * 2 ** 20 }, ports: [{ port: 3000 }] })
      const { Config, HostConfig, Mounts } = container
      assert.deepInclude(HostConfig, {
        Memory: 64 * 2 ** 20,
        MemorySwap: 64 * 2 ** 20,
        NanoCpus: 1e9,
        PidsLimit: 77,
        CapDrop: ["ALL"],
        CapAdd: null,
        Privileged: false,
        SecurityOpt: ["no-new-privileges:true"],
        Init: true,
        Binds: null,
        IpcMode: "private",
        PidMode: "",
        UTSMode: "",
        RestartPolicy: { Name: "no", MaximumRetryCount: 0 },
        PortBindings: { "3000/tcp": [{ HostIp: "127.0.0.1", HostPort: "" }] }
      })
      assert.isEmpty(HostConfig.Devices ?? [])
      assert.notMatch(HostConfig.NetworkMode, /^(host|bridge|default)$/)
      assert.deepStrictEqual(
        Mounts.map(({ Destination, Name, Type }: any) => ({ Destination, Name, Type })),
        [{ Destination: "/sandbox", Name: intent.name, Type: "volume" }]
      )
      assert.strictEqual(Config.User, "1000:1000")
      for (const [name, value] of Object.entries(intent.labels)) assert.strictEqual(Config.Labels[name], value)
    }).pipe(on({ pids: 77 }))
  )

  it.live("is not made by an engine that leaves out any part of its protection, and nothing is left", () =>
    Effect.gen(function* () {
      const lies: Readonly<Record<string, (container: any) => void>> = {
        "a memory limit": ({ HostConfig }) => void (HostConfig.Memory = 0),
        CPUs: ({ HostConfig }) => void (HostConfig.NanoCpus = 0),
        processes: ({ HostConfig }) => void (HostConfig.PidsLimit = null),
        "no capabilities": ({ HostConfig }) => void (HostConfig.CapDrop = ["NET_RAW"]),
        "no capabilities but one": ({ HostConfig }) => void (HostConfig.CapAdd = ["SYS_PTRACE"]),
        "no new privileges": ({ HostConfig }) => void (HostConfig.SecurityOpt = []),
        "no privileges of the host": ({ HostConfig }) => void (HostConfig.Privileged = true),
        "processes of its own": ({ HostConfig }) => void (HostConfig.PidMode = "host"),
        "shared memory of its own": ({ HostConfig }) => void (HostConfig.IpcMode = "host"),
        "a network": ({ HostConfig }) => void (HostConfig.NetworkMode = "host"),
        "a first process": ({ HostConfig }) => void (HostConfig.Init = false),
        "a root that is read-only": ({ HostConfig }) => void (HostConfig.ReadonlyRootfs = false),
        "the user 1000:1000": ({ Config }) => void (Config.User = ""),
        "ports of 127.0.0.1": ({ HostConfig }) =>
          void (HostConfig.PortBindings = { "80/tcp": [{ HostIp: "0.0.0.0", HostPort: "" }] }),
        "nothing of the host": ({ Mounts }) =>
          Mounts.push({ Type: "bind", Source: "/", Destination: "/host", RW: true }),
        "its own volume": ({ Mounts }) => void (Mounts[0].Name = "another"),
        "the runtime runc": ({ HostConfig }) => void (HostConfig.Runtime = "other")
      }
      for (const [part, lie] of Object.entries(lies)) {
        const engine = yield* rewritingEngine(lie)
        const ledger = yield* newLedger
        const made = Effect.gen(function* () {
          return yield* Effect.flip((yield* docker).provision(ledger.intent()))
        })
        const options = { host: engine.address, network: "none", runtime: "runc", read_only_root: true }
        const { message, outcome, reason } = yield* on(options)(made)
        assert.deepStrictEqual({ outcome, reason }, { outcome: "not_applied", reason: "Unsupported" }, part)
        assert.include(message, part.replace(/ but .*/, ""))
        assert.deepStrictEqual(yield* ledger.made, Docker.nothing, part)
      }
    }).pipe(Effect.scoped)
  )
})
