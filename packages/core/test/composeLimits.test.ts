/** What a compose file cannot ask of the engine, on this host and beside a box. */
import { assert, describe, it } from "@effect/vitest"
import { rewrite } from "../src/internal/compose/rewrite.ts"
import type { Wanted } from "../src/internal/compose/wanted.ts"

const here: Wanted = { project: "p", labels: {}, services: [] }
const box: Wanted = { ...here, network: "box-net", isolated: true }

const problems = (document: object, from: Wanted) => rewrite(document, from).problems.map(({ field }) => field)
const service = (more: object, from = here) => problems({ services: { a: { image: "x", ...more } } }, from)
const volume = (driver_opts: object, from = here) =>
  problems({ services: { a: { volumes: ["v:/v"] } }, volumes: { v: { driver_opts } } }, from)
const network = (more: object, from = here) =>
  problems({ services: { a: { networks: ["n"] } }, networks: { n: more } }, from)

/** What gives a service this host, wherever it stands. */
const never: ReadonlyArray<readonly [field: string, service: object]> = [
  ["privileged", { privileged: true }],
  ["pid", { pid: "host" }],
  ["pid", { pid: "container:other" }],
  ["ipc", { ipc: "host" }],
  ["ipc", { ipc: "container:other" }],
  ["uts", { uts: "host" }],
  ["userns_mode", { userns_mode: "host" }],
  ["cgroup", { cgroup: "host" }],
  ["network_mode", { network_mode: "host" }],
  ["network_mode", { network_mode: "container:other" }],
  ["network_mode", { network_mode: "somebodys-network" }],
  ["devices", { devices: ["/dev/sda:/dev/sda:rwm"] }],
  ["device_cgroup_rules", { device_cgroup_rules: ["b 8:* rmw"] }],
  ["security_opt", { security_opt: ["no-new-privileges:true", "seccomp:unconfined"] }],
  ["security_opt", { security_opt: ["apparmor=unconfined"] }],
  ["security_opt", { security_opt: ["seccomp=./allows-all.json"] }],
  ["security_opt", { security_opt: ["label:disable"] }],
  ["security_opt", { security_opt: ["seccomp:unc$Xonfined"] }],
  ["use_api_socket", { use_api_socket: true }],
  ["provider", { provider: { type: "anything" } }],
  ["post_start", { post_start: [{ command: "true", privileged: true }] }],
  ["build.privileged", { build: { context: "/w", privileged: true } }],
  ["build.entitlements", { build: { context: "/w", entitlements: ["security.insecure"] } }]
]

/** What is refused beside a box alone. */
const notBesideBox: ReadonlyArray<readonly [field: string, service: object]> = [
  ["cap_add", { cap_add: ["SYS_ADMIN"] }],
  ["deploy.resources", { deploy: { resources: { reservations: { devices: [{ driver: "cdi" }] } } } }],
  ["logging", { logging: { driver: "syslog", options: { "syslog-address": "unix:///x" } } }],
  ["external_links", { external_links: ["other"] }],
  ["volumes_from", { volumes_from: ["container:other"] }],
  ["build.ssh", { build: { context: "/w", ssh: ["default"] } }],
  ["build.network", { build: { context: "/w", network: "host" } }],
  ["build.context", { build: "git@example.com:private.git" }],
  ["runtime", { runtime: "weak" }],
  ["cgroup_parent", { cgroup_parent: "/" }],
  ["a_key_of_tomorrow", { a_key_of_tomorrow: "x" }]
]

describe("what a compose file cannot ask for", () => {
  for (const [field, more] of never) {
    it(`I-91 refuses ${JSON.stringify(more)}`, () => {
      for (const from of [here, box]) assert.deepEqual(service(more, from), [`services.a.${field}`])
    })
  }

  for (const [field, more] of notBesideBox) {
    it(`I-91 beside a box refuses ${JSON.stringify(more)}`, () => {
      assert.deepEqual(service(more, box), [`services.a.${field}`])
      assert.deepEqual(service(more), [])
    })
  }

  it("leaves alone what stays among the session's own containers", () => {
    const more = {
      privileged: false,
      pid: "service:b",
      ipc: "shareable",
      userns_mode: "",
      cgroup: "private",
      devices: [],
      cap_drop: ["ALL"],
      security_opt: ["no-new-privileges:true", "seccomp:builtin", "apparmor=docker-default", "label:level:s0:c1,c2"],
      post_start: [{ command: "true" }],
      logging: { driver: "json-file" },
      deploy: { resources: { limits: { memory: "1G" } } },
      "x-note": 1
    }
    const both = { services: { a: { ...more }, b: { network_mode: "none" } } }
    for (const from of [here, box]) assert.deepEqual(problems(both, from), [])
  })

  it("says on this host that a capability leads there", () => {
    const { warnings } = rewrite({ services: { a: { cap_add: ["SYS_ADMIN"] } } }, here)
    assert.deepEqual(warnings, [
      { field: "services.a.cap_add", message: "gives it SYS_ADMIN, with which it may reach this host" }
    ])
  })

  it("I-91 refuses a volume that the engine would mount from this host, however it is written", () => {
    for (const options of [
      { type: "ext4", device: "/dev/sda1" },
      { type: "overlay", device: "overlay", o: "lowerdir=/,upperdir=/tmp/u,workdir=/tmp/w" },
      { type: "cifs", device: "//server/share", o: "credentials=/etc/secret" },
      { device: "/dev/sda1" },
      { type: "none", o: "bind", device: "relative" }
    ]) {
      for (const from of [here, box])
        assert.deepEqual(volume(options, from), ["volumes.v.driver_opts"], String(options.device))
    }
    for (const options of [
      { type: "tmpfs", device: "tmpfs", o: "size=1m" },
      { type: "nfs", device: ":/export", o: "addr=10.0.0.1" },
      { size: "1G" }
    ]) {
      for (const from of [here, box]) assert.deepEqual(volume(options, from), [])
    }
    const plugin = { services: { a: { volumes: ["v:/v"] } }, volumes: { v: { driver: "plugin" } } }
    assert.deepEqual(problems(plugin, box), ["volumes.v.driver"])
    assert.deepEqual(problems(plugin, here), [])
    // what binds is judged by where it leads, and beside a box there is no directory that both see
    const bind = { type: "none", o: "rw,rbind", device: "/w/data" }
    assert.deepEqual(volume(bind), [])
    assert.deepEqual(volume(bind, box), ["volumes.v.driver_opts"])
  })

  it("I-91 refuses the engine's own networks, and beside a box those that lead out", () => {
    for (const from of [here, box]) {
      for (const name of ["host", "bridge", "none"]) {
        assert.deepEqual(network({ external: true, name }, from), ["networks.n"])
        assert.deepEqual(network({ external: { name } }, from), ["networks.n"])
      }
      assert.deepEqual(network({ external: true, name: "shared" }, from), [])
      assert.deepEqual(network({ driver: "bridge" }, from), [])
    }
    const unnamed = { services: { a: { networks: ["host"] } }, networks: { host: { external: true } } }
    assert.deepEqual(problems(unnamed, here), ["networks.host"])
    assert.deepEqual(network({ driver: "macvlan" }, box), ["networks.n.driver"])
    assert.deepEqual(network({ driver: "macvlan" }), [])
  })
})
