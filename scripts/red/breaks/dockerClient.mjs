/** Breaks of how the Docker provider reaches an engine, and of what it makes of an answer that is none. */
const source = "packages/provider-docker/src"
const tests = (name) => ({ project: "provider-docker", file: `packages/provider-docker/test/${name}.test.ts` })
const client = tests("DockerClient.integration")

export const breaks = [
  {
    invariant: "104",
    why: "another server's 404 is read as a box that is gone",
    file: `${source}/DockerClient.ts`,
    edits: [['if (headers["api-version"] === undefined && !anybodys.includes(status))', "if (false)"]],
    tests: client,
    only: "I-104 does not read"
  },
  {
    invariant: "104",
    why: "a redirect is taken for success",
    file: `${source}/DockerClient.ts`,
    edits: [["if (status < 300 || status === 304)", "if (status < 400)"]],
    tests: client,
    only: "never takes somebody else's answer"
  },
  {
    invariant: "dockerClient",
    why: "an engine that is too old is asked anyway",
    file: `${source}/DockerClient.ts`,
    edits: [["if (Number(major) !== first || spoken < oldest)", "if (false)"]],
    tests: client,
    only: "that is too old is refused"
  },
  {
    invariant: "dockerClient",
    why: "a newer engine is asked in a version that nobody here knows",
    file: `${source}/DockerClient.ts`,
    edits: [["Math.min(spoken, versions.newest[1])", "spoken"]],
    tests: client,
    only: "is the newest that both sides know"
  },
  {
    invariant: "dockerClient",
    why: "whoever answers is taken for the engine",
    file: `${source}/DockerClient.ts`,
    edits: [["rejectUnauthorized: verify", "rejectUnauthorized: false"]],
    tests: client,
    only: "says so of the certificate"
  },
  {
    invariant: "dockerClient",
    why: "a connection is opened to be read only when somebody reads",
    file: `${source}/DockerClient.ts`,
    edits: [
      [
        "const pull = yield* Effect.option(Socket.readerBytes(socket))",
        'const pull = { _tag: "Some", value: Effect.never } as const'
      ]
    ],
    tests: client,
    only: "what nobody reads is closed"
  },
  {
    invariant: "dockerClient",
    why: "ssh is not ended with its connection",
    file: `${source}/SshHost.ts`,
    edits: [['ssh.kill("SIGTERM")', ""]],
    tests: client,
    only: "leaves no ssh behind"
  },
  {
    invariant: "dockerClient",
    why: "ssh that broke is an answer that ended",
    file: `${source}/SshHost.ts`,
    edits: [["if (code === 0 && heard)", "if (heard)"]],
    tests: client,
    only: "knows that the answer broke off"
  },
  {
    invariant: "dockerClient",
    why: "a context is not looked for",
    file: `${source}/Location.ts`,
    edits: [["const context = host === undefined ? yield* contextInUse : undefined", "const context = undefined"]],
    tests: tests("Location"),
    only: "in this order"
  },
  {
    invariant: "dockerClient",
    why: "https is not checked unless DOCKER_TLS_VERIFY says so",
    file: `${source}/Location.ts`,
    edits: [["tls: { ...found, verify: !insecure }", "tls: { ...found, verify: insecure }"]],
    tests: tests("Location"),
    only: "of a host is encrypted"
  },
  {
    invariant: "dockerClient",
    why: "the head of a frame is expected in one piece",
    file: `${source}/Exec.ts`,
    edits: [["if (head.length < 8) continue", "if (head.length < 8) { head = none; continue }"]],
    tests: tests("Exec"),
    only: "however the wire was cut"
  },
  {
    invariant: "dockerClient",
    why: "an option to ssh is taken for a host",
    file: `${source}/Address.ts`,
    edits: [['if (user.startsWith("-") || host.startsWith("-"))', "if (false)"]],
    tests: tests("Address"),
    only: "never an option to ssh"
  }
]
