import { assert, describe, it } from "@effect/vitest"
import type { Outcome, Reason } from "@org/sandbox-core/Provisioner"
import {
  classify,
  EngineError,
  Refused,
  sshSilent,
  TransportError,
  UnreadableAnswer
} from "@org/sandbox-provider-docker/DockerError"

const id = "125604b52744317a231a0c5885ca25b1854dcb9bda6058a5c120bb524d0fb244"

/** What engines say, as they say it: 20.10 unless told. */
const said: ReadonlyArray<readonly [number, string, Reason, version?: string]> = [
  [
    409,
    `Conflict. The container name "/hd1" is already in use by container "${id}". You have to remove (or rename) that container to be able to reuse that name.`,
    "Conflict"
  ],
  [404, "No such image: sandbox-test/nope:1", "NotFound"],
  [404, "no such image: nope:1: No such image: nope:1", "NotFound"],
  [404, "No such container: nope", "NotFound"],
  [404, "get nope: no such volume", "NotFound"],
  [404, "network nope not found", "NotFound"],
  [404, "No such exec instance: nope", "NotFound"],
  [404, "Could not find the file /nope in container hd1", "NotFound"],
  [404, 'plugin "nodriver" not found', "NotFound"],
  [409, `Container ${id} is not running`, "NotReady"],
  [
    500,
    `Could not kill running container ${id}, cannot remove - tried to kill container, but did not receive an exit event`,
    "NotReady"
  ],
  [500, "database not open", "Unreachable"],
  [500, "rpc error: code = Unavailable desc = transport is closing: unknown", "Unreachable"],
  [409, "Container hd1 is paused, unpause the container before exec", "NotReady"],
  [500, `Container ${id} is not paused`, "Unknown"],
  [409, `removal of container ${id} is already in progress`, "NotReady"],
  [409, "container is marked for removal and cannot be started", "NotReady"],
  [
    409,
    `You cannot remove a running container ${id}. Stop the container before attempting removal or force remove`,
    "Conflict"
  ],
  [409, `remove hdvol: volume is in use - [${id}]`, "Conflict"],
  [409, "network with name hdnet already exists", "Conflict"],
  [403, `error while removing network: network hdnet id ${id} has active endpoints`, "NotReady"],
  [403, "bridge is a pre-defined network and cannot be removed", "Invalid"],
  [403, "Pool overlaps with other one on this address space", "Conflict"],
  [
    400,
    'failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: "/no/such": stat /no/such: no such file or directory: unknown',
    "Invalid"
  ],
  [
    400,
    'failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: "nosuch": executable file not found in $PATH: unknown',
    "Invalid"
  ],
  [500, "unable to find user nobodyhere: no matching entries in passwd file", "Invalid"],
  [400, "Minimum memory limit allowed is 6MB", "Invalid"],
  [400, "Range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available", "Invalid"],
  [400, "the working directory 'rel' is invalid, it needs to be an absolute path", "Invalid"],
  [400, "invalid reference format: repository name must be lowercase", "Invalid"],
  [500, "Error processing tar file(exit status 1): unexpected EOF", "Invalid"],
  [400, "Unknown runtime specified runsc", "Unsupported"],
  [400, "unknown or invalid runtime name: runsc", "Unsupported", "24.0"],
  [500, 'could not select device driver "" with capabilities: [[gpu]]', "Unsupported"],
  [400, "client version 1.99 is too new. Maximum supported API version is 1.41", "Unsupported"],
  [
    400,
    "client version 1.1 is too old. Minimum supported API version is 1.12, please upgrade your client to a newer version",
    "Unsupported"
  ],
  [
    500,
    "driver failed programming external connectivity on endpoint hd13 (37bb898a): Error starting userland proxy: listen tcp4 127.0.0.1:18999: bind: address already in use",
    "Conflict"
  ],
  [
    500,
    "driver failed programming external connectivity on endpoint hd15 (319d1e63): Bind for 127.0.0.1:18998 failed: port is already allocated",
    "Conflict"
  ],
  [
    500,
    "failed to set up container networking: driver failed programming external connectivity on endpoint x (319d1e63): failed to bind host port for 127.0.0.1:18999:172.17.0.2:80/tcp: address already in use",
    "Conflict",
    "28"
  ],
  [
    404,
    "could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the network",
    "QuotaExceeded"
  ],
  [400, "all predefined address pools have been fully subscribed", "QuotaExceeded", "27"],
  [500, "Error processing tar file(exit status 1): write /x/big: no space left on device", "QuotaExceeded"],
  [500, 'Get "http://localhost:1/v2/": dial tcp 127.0.0.1:1: connect: connection refused', "Unreachable"],
  [
    500,
    'Get "https://registry-1.docker.io/v2/": dial tcp: lookup registry-1.docker.io on 10.255.255.53:53: no such host',
    "Unreachable"
  ],
  [
    404,
    "pull access denied for nope, repository does not exist or may require 'docker login': denied: requested access to the resource is denied",
    "NotFound"
  ],
  [404, "manifest for debian:nope not found: manifest unknown: manifest unknown", "NotFound"],
  [
    500,
    "toomanyrequests: You have reached your pull rate limit. You may increase the limit by authenticating and upgrading: https://www.docker.com/increase-rate-limit",
    "RateLimited"
  ],
  [500, 'Get "https://registry.example/v2/x/manifests/1": unauthorized: authentication required', "Unauthorized"],
  [403, "authorization denied by plugin opa-docker-authz: request rejected by administrative policy", "Unauthorized"],
  [500, "fork/exec /usr/bin/containerd-shim-runc-v2: resource temporarily unavailable", "CapacityExhausted"],
  [500, "can only create exec sessions on running containers: container state improper", "NotReady", "Podman 4.3"],
  [
    500,
    'container create: creating container storage: the container name "x" is already in use by 70005c77. You have to remove that container to be able to reuse that name: that name is already in use',
    "Conflict",
    "Podman 4.3"
  ],
  [
    500,
    "cannot listen on the TCP port: listen tcp4 127.0.0.1:40541: bind: address already in use",
    "Conflict",
    "Podman 4.3"
  ],
  [404, 'no container with name or ID "nope" found: no such container', "NotFound", "Podman 4.3"],
  [404, "volume with name nope not found: no such volume", "NotFound", "Podman 4.3"],
  [500, "invalid character 'g' looking for beginning of value", "Unknown"],
  [503, "<html>503 Service Unavailable: No server is available</html>", "Unreachable"],
  [429, "slow down", "RateLimited"]
]

const brokenOff = (code: string | undefined, message: string) => new TransportError({ code, message })

/** What the system says of connections, and what a person is told. */
const broken: ReadonlyArray<readonly [TransportError, Reason, Outcome, string]> = [
  [
    brokenOff("ENOENT", "connect ENOENT /var/run/docker.sock"),
    "Unreachable",
    "not_applied",
    "connect ENOENT /var/run/docker.sock: no engine listens there; start it, or set DOCKER_HOST"
  ],
  [
    brokenOff("ECONNREFUSED", "connect ECONNREFUSED 127.0.0.1:2375"),
    "Unreachable",
    "not_applied",
    "connect ECONNREFUSED 127.0.0.1:2375: no engine listens there; start it, or set DOCKER_HOST"
  ],
  [
    brokenOff("EACCES", "connect EACCES /var/run/docker.sock"),
    "Unauthorized",
    "not_applied",
    "connect EACCES /var/run/docker.sock: this user may not use the engine; add it to the group that owns the socket (often docker), or set DOCKER_HOST"
  ],
  [
    brokenOff("UND_ERR_CONNECT_TIMEOUT", "Connect Timeout Error (attempted address: 10.0.0.1:2375, timeout: 20000ms)"),
    "Unreachable",
    "not_applied",
    "Connect Timeout Error (attempted address: 10.0.0.1:2375, timeout: 20000ms)"
  ],
  [brokenOff("ECONNRESET", "read ECONNRESET"), "Unreachable", "unknown", "read ECONNRESET"],
  [brokenOff("UND_ERR_SOCKET", "other side closed"), "Unreachable", "unknown", "other side closed"],
  [brokenOff(undefined, "terminated"), "Unreachable", "unknown", "terminated"],
  [
    brokenOff("CERT_HAS_EXPIRED", "certificate has expired"),
    "Unauthorized",
    "not_applied",
    "certificate has expired: the engine's certificate is not one to trust; correct DOCKER_CERT_PATH"
  ],
  [
    brokenOff(
      "ERR_SSL_SSL/TLS_ALERT_BAD_CERTIFICATE",
      "40ED865D4B7F0000:error:0A000412:SSL routines:ssl3_read_bytes:ssl/tls alert bad certificate:../deps/openssl/openssl/ssl/record/rec_layer_s3.c:918:SSL alert number 42\n"
    ),
    "Unauthorized",
    "not_applied",
    "ssl/tls alert bad certificate: the engine does not take this client's certificate; correct DOCKER_CERT_PATH"
  ],
  [
    brokenOff("ERR_SSL_WRONG_VERSION_NUMBER", "wrong version number"),
    "Invalid",
    "not_applied",
    "wrong version number: the engine speaks no TLS there; unset DOCKER_TLS_VERIFY, or name its other port"
  ],
  [
    brokenOff("HPE_INVALID_CONSTANT", "Expected HTTP/"),
    "Unsupported",
    "unknown",
    "Expected HTTP/: what answers there is no Docker engine"
  ],
  [
    brokenOff(sshSilent, "dev@h: Permission denied (publickey)."),
    "Unauthorized",
    "not_applied",
    "the engine's host does not connect through ssh: dev@h: Permission denied (publickey)."
  ],
  [
    brokenOff(sshSilent, "No ED25519 host key is known for h.\r\nHost key verification failed."),
    "Unauthorized",
    "not_applied",
    "the engine's host does not connect through ssh: No ED25519 host key is known for h. Host key verification failed."
  ],
  [
    brokenOff(sshSilent, "ssh: Could not resolve hostname nope: Name or service not known"),
    "Unreachable",
    "not_applied",
    "the engine's host does not connect through ssh: ssh: Could not resolve hostname nope: Name or service not known"
  ],
  [
    brokenOff(sshSilent, "bash: line 1: docker: command not found"),
    "Unreachable",
    "not_applied",
    "the engine's host does not connect through ssh: bash: line 1: docker: command not found"
  ],
  [
    brokenOff(sshSilent, "Connection to h closed by remote host."),
    "Unreachable",
    "unknown",
    "the engine's host does not connect through ssh: Connection to h closed by remote host."
  ]
]

describe("an error of an engine", () => {
  for (const [status, message, reason, version = "20.10"] of said) {
    it(`${status} ${message} is ${reason} (${version})`, () => {
      const problem = new EngineError({ status, message })
      const error = classify("provision")(problem)
      assert.strictEqual(error.reason, reason)
      assert.strictEqual(error.outcome, status < 500 ? "not_applied" : "unknown")
      assert.strictEqual(error.message, message)
      assert.deepInclude(error, { provider: "docker", operation: "provision", cause: problem })
      // whoever only looks has changed nothing, however it ended
      assert.strictEqual(classify("inspect")(problem).outcome, "not_applied")
    })
  }

  it.each(broken)("%s is %s, %s", (problem, reason, outcome, message) => {
    const error = classify("stop")(problem)
    assert.deepStrictEqual([error.reason, error.outcome, error.message], [reason, outcome, message])
    assert.strictEqual(classify("find")(problem).outcome, "not_applied")
  })

  it("said in the middle of an answer leaves open how far the engine came", () => {
    const error = classify("provision")(new EngineError({ status: 0, message: "no space left on device" }))
    assert.deepStrictEqual([error.reason, error.outcome], ["QuotaExceeded", "unknown"])
  })

  it("that nobody can read is unsupported, and leaves open what was done", () => {
    const error = classify("start")(new UnreadableAnswer({ message: "what\n answers" }))
    assert.deepStrictEqual([error.reason, error.outcome, error.message], ["Unsupported", "unknown", "what answers"])
  })

  it("of our own is what it says, and changed nothing", () => {
    const error = classify("exec")(new Refused({ reason: "NotReady", message: "The box is halted." }))
    assert.deepStrictEqual([error.reason, error.outcome], ["NotReady", "not_applied"])
  })

  it("in the middle of a command leaves open whether the command ran", () => {
    assert.strictEqual(classify("exec")(brokenOff("ECONNRESET", "read ECONNRESET")).outcome, "unknown")
    assert.strictEqual(classify("exec")(brokenOff("ENOENT", "connect ENOENT /x")).outcome, "not_applied")
  })
})
