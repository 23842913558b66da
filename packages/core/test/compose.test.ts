/** What becomes of a compose file: a document of one session's own. */
import { assert, describe, it } from "@effect/vitest"
import { references } from "../src/internal/compose/references.ts"
import { rewrite } from "../src/internal/compose/rewrite.ts"
import type { Rewritten, Wanted } from "../src/internal/compose/wanted.ts"

const labels = { "org.sandbox.session": "sbx_1", "org.sandbox.owner": "a$b" }
const wanted: Wanted = { project: "sandbox-sbx-1", labels, services: [] }
const ours = { "org.sandbox.session": "sbx_1", "org.sandbox.owner": "a$$b" }

const db = (port: Partial<{ target: number }> = {}): Wanted => ({
  ...wanted,
  services: [{ name: "db", ports: [{ name: "db", number: 15_433, ...port }] }]
})

const document = (resolved: object, from = wanted) => rewrite(resolved, from).document as any
const services = (resolved: object, from = wanted) => document({ services: resolved }, from).services
const fields = (remarks: Rewritten["problems"]) => remarks.map(({ field }) => field)

describe("rewriting a compose file", () => {
  it("labels every service, network, volume and build, and keeps the file's own labels", () => {
    const made = document({
      services: {
        db: { image: "db", volumes: ["data:/data:rw"], labels: ["a=b=c"] },
        app: { build: { context: "/w/app", labels: { x: 1 } }, networks: ["front"] }
      },
      networks: { front: { name: "fixed", driver: "bridge" }, unused: {} },
      volumes: { data: { name: "fixed" }, unused: {} }
    })
    assert.deepEqual(made.services.db.labels, { a: "b=c", ...ours })
    assert.deepEqual(made.services.app.build, { context: "/w/app", labels: { x: "1", ...ours } })
    assert.deepEqual(made.networks, {
      default: { labels: ours },
      front: { driver: "bridge", labels: ours }
    })
    assert.deepEqual(made.volumes, { data: { labels: ours } })
  })

  it("drops what sessions would share: names of containers, networks and volumes, addresses, tags, the project's name", () => {
    const { document: made, warnings } = rewrite(
      {
        name: "fixed",
        version: "3.9",
        services: {
          db: {
            image: "db",
            container_name: "my-db",
            networks: { back: { ipv4_address: "10.9.0.2", aliases: ["x"] } }
          }
        },
        networks: {
          back: {
            ipam: { config: [{ subnet: "10.9.0.0/24" }] },
            driver_opts: { "com.docker.network.bridge.name": "br9" }
          }
        }
      },
      wanted
    )
    assert.deepEqual(made, {
      services: { db: { image: "db", labels: ours, networks: { back: { aliases: ["x", "my-db"] } } } },
      networks: { back: { labels: ours } }
    })
    assert.deepEqual(fields(warnings), ["services.db.networks.back", "networks.back.ipam"])
  })

  it("publishes what is declared, on the loopback address alone, and says what is not", () => {
    const from = { db: { image: "db", ports: ["0.0.0.0:5432:5432/tcp", { target: 80, published: 8080 }] } }
    assert.deepEqual(services(from, db({ target: 5432 })).db.ports, ["127.0.0.1:15433:5432"])
    const { warnings } = rewrite({ services: from }, db({ target: 5432 }))
    assert.match(warnings[0]!.message, /^80 is not published/)
    assert.isUndefined(services(from).db.ports)
  })

  it("publishes a port by every protocol that the file names for it", () => {
    const dns = { db: { ports: ["53:53/udp", { target: 53, protocol: "tcp" }, { target: 80, protocol: "tcp" }] } }
    assert.deepEqual(services(dns, db({ target: 53 })).db.ports, ["127.0.0.1:15433:53/udp", "127.0.0.1:15433:53"])
    assert.deepEqual(services({ db: { expose: ["514/udp"] } }, db()).db.ports, ["127.0.0.1:15433:514/udp"])
  })

  it("refuses several containers that would share a port of this host, and no others", () => {
    const said = (more: object, from: Wanted) =>
      fields(rewrite({ services: { db: { expose: [80], ...more } } }, from).problems)
    assert.deepEqual(said({ scale: 2 }, db()), ["services.db.scale"])
    assert.deepEqual(said({ deploy: { replicas: 3 } }, db()), ["services.db.deploy.replicas"])
    assert.deepEqual(said({ deploy: { replicas: 1 } }, db()), [])
    assert.deepEqual(said({ scale: 2 }, { ...wanted, services: [{ name: "db", ports: [] }] }), [])
    assert.deepEqual(said({ scale: 2 }, { ...wanted, services: [{ name: "db", ports: [{ name: "db" }] }] }), [])
  })

  it("takes the only port that a service publishes or exposes, and asks where there are several or none", () => {
    assert.deepEqual(services({ db: { ports: ["5432"] } }, db()).db.ports, ["127.0.0.1:15433:5432"])
    assert.deepEqual(services({ db: { expose: ["5432/tcp"] } }, db()).db.ports, ["127.0.0.1:15433:5432"])
    for (const [ports, what] of [
      [["5432", "80"], "several ports (5432, 80)"],
      [[], "no port"]
    ] as const) {
      const { problems } = rewrite({ services: { db: { ports } } }, db())
      assert.deepEqual(fields(problems), ["services.db.ports"])
      assert.include(problems[0]!.message, what)
    }
  })

  it("keeps the services that are named and those that they need, and refuses a name that is none", () => {
    const from = {
      web: { depends_on: { api: { condition: "service_started" } } },
      api: { links: ["db:database"], volumes_from: ["files:ro"] },
      db: {},
      files: { network_mode: "service:side" },
      side: {},
      other: {}
    }
    const web = { ...wanted, services: [{ name: "web", ports: [] }] }
    assert.deepEqual(Object.keys(services(from, web)), ["web", "api", "db", "files", "side"])
    assert.deepEqual(Object.keys(services(from)), Object.keys(from))
    const { problems } = rewrite({ services: from }, { ...wanted, services: [{ name: "wbe", ports: [] }] })
    assert.deepEqual(fields(problems), ["compose.services"])
    assert.include(problems[0]!.message, "it has web, api, db, files, side, other")
  })

  it("takes what is behind a profile by name alone, or where it is needed", () => {
    const from = {
      db: {},
      admin: { profiles: ["debug"] },
      mail: { profiles: ["debug"] },
      web: { depends_on: ["mail"] }
    }
    assert.deepEqual(Object.keys(services(from)), ["db", "mail", "web"])
    assert.deepEqual(services(from, { ...wanted, services: [{ name: "admin", ports: [] }] }), {
      admin: { labels: ours, networks: { default: {} } }
    })
  })

  it("reads what version 2 of the tool answers", () => {
    const made = document(
      {
        name: "sandbox-sbx-1",
        services: {
          db: {
            command: null,
            entrypoint: null,
            image: "db",
            networks: { default: null },
            ports: [{ mode: "ingress", target: 5432, published: "5432", protocol: "tcp" }],
            volumes: [
              { type: "volume", source: "data", target: "/data", volume: {} },
              { type: "bind", source: "/w/conf", target: "/conf", read_only: true, bind: { create_host_path: true } }
            ]
          }
        },
        networks: { default: { name: "sandbox-sbx-1_default", ipam: {} } },
        volumes: { data: { name: "sandbox-sbx-1_data" } }
      },
      db()
    )
    assert.deepEqual(made.services.db.ports, ["127.0.0.1:15433:5432"])
    assert.deepEqual(made.services.db.networks, { default: {} })
    assert.lengthOf(made.services.db.volumes, 2)
    assert.deepEqual(made.networks, { default: { labels: ours } })
    assert.deepEqual(made.volumes, { data: { labels: ours } })
    assert.deepEqual(Object.keys(made), ["services", "networks", "volumes"])
  })

  it("gives images that are built here a name of the session's own, wherever they are used", () => {
    const made = services({
      app: { build: "/w/app", image: "app:1" },
      worker: { image: "app:1" },
      plain: { build: { context: "/w/plain", tags: ["shared:1"] } },
      db: { image: "db" }
    })
    assert.deepEqual(
      [made.app.image, made.worker.image, made.plain.image, made.db.image],
      ["sandbox-sbx-1-app", "sandbox-sbx-1-app", "sandbox-sbx-1-plain", "db"]
    )
    assert.deepEqual(made.plain.build, { context: "/w/plain", labels: ours })
  })

  it("does not let what was halted come back with the engine", () => {
    assert.strictEqual(services({ a: { restart: "always" } }).a.restart, "unless-stopped")
    for (const kept of ["on-failure", "on-failure:3", "no"]) {
      assert.strictEqual(services({ a: { restart: kept } }).a.restart, kept)
    }
    const policy = (restart_policy: object) => {
      const { deploy, restart } = services({ a: { restart: "no", deploy: { replicas: 1, restart_policy } } }).a
      assert.deepEqual(deploy, { replicas: 1 })
      return restart
    }
    assert.deepEqual(
      [{ condition: "any" }, { condition: "on-failure", max_attempts: 3 }, { condition: "none" }, { delay: "1s" }].map(
        policy
      ),
      ["unless-stopped", "on-failure:3", "no", "no"]
    )
  })

  it("I-91 tells of every path of this host that a service would see", () => {
    const { mounts } = rewrite(
      {
        services: {
          a: {
            build: {
              context: "/w/a",
              dockerfile: "../../x",
              additional_contexts: { more: "/etc", packed: "oci-layout:///oci", other: "docker-image://x" },
              cache_to: ["type=local,dest=/cache", "type=inline"],
              secrets: [{ source: "built" }]
            },
            volumes: [
              "/etc:/etc:ro",
              "/w/b:/b:rw",
              "~/c:/c",
              "data:/data",
              "/anonymous",
              { type: "bind", source: "/d", target: "/d", read_only: true },
              { type: "volume", source: "data", target: "/e" },
              { type: "tmpfs", target: "/t" }
            ],
            secrets: ["s"],
            configs: [{ source: "c", target: "/c" }]
          }
        },
        volumes: { data: { driver_opts: { type: "none", o: "bind", device: "/srv" } } },
        secrets: { s: { file: "/run/s" }, built: { file: "/run/b" }, unused: { file: "/run/u" } },
        configs: { c: { file: "/run/c" } }
      },
      wanted
    )
    assert.deepEqual(
      mounts.map(({ field, path, readOnly }) => `${field} ${path}${readOnly ? " ro" : ""}`),
      [
        "services.a.volumes /etc ro",
        "services.a.volumes /w/b",
        "services.a.volumes ~/c",
        "services.a.volumes /d ro",
        "services.a.build.context /w/a",
        "services.a.build.dockerfile /w/a/../../x",
        "services.a.build.additional_contexts /etc",
        "services.a.build.additional_contexts /oci",
        "services.a.build.cache_to /cache",
        "volumes.data.driver_opts /srv",
        "secrets.s /run/s ro",
        "secrets.built /run/b ro",
        "configs.c /run/c ro"
      ]
    )
  })

  it("keeps what is external as it is, and says that every session has the same", () => {
    const { document: made, warnings } = rewrite(
      {
        services: { a: { volumes: ["data:/data"], networks: ["front"], external_links: ["old"] } },
        volumes: { data: { external: true, name: "data" } },
        networks: { front: { external: { name: "shared" } } }
      },
      wanted
    )
    assert.deepEqual((made as any).volumes, { data: { external: true, name: "data" } })
    assert.deepEqual((made as any).networks, { front: { external: { name: "shared" } } })
    assert.deepEqual(fields(warnings), ["services.a.external_links", "networks.front", "volumes.data"])
  })

  it("joins a network that is given instead of the default one, and the services that are meant join it beside their own", () => {
    const box = { ...db(), network: "box-net" }
    const made = document({ services: { db: { ports: ["5432"] } } }, box)
    assert.deepEqual(made.networks, { default: { external: true, name: "box-net" } })
    assert.deepEqual(made.services.db.networks, { default: {} })
    const kept = {
      services: { db: { networks: ["back"], expose: [5432], depends_on: ["side"] }, side: { networks: ["back"] } }
    }
    assert.deepEqual(document(kept, box).services.db.networks, { back: {}, default: {} })
    assert.deepEqual(document(kept, box).services.side.networks, { back: {} })
    assert.deepEqual(document(kept, db()).services.db.networks, { back: {} })
  })

  it("has the engine choose the port of this host where none was chosen, and tells what listens in the container", () => {
    const chosen = [
      { name: "db", number: 15433 },
      { name: "db-admin", target: 9000 }
    ]
    const made = rewrite(
      { services: { db: { ports: ["5432"] } } },
      { ...wanted, network: "box-net", services: [{ name: "db", ports: chosen }] }
    )
    assert.deepEqual((made.document as any).services.db.ports, ["127.0.0.1:15433:5432", "127.0.0.1::9000"])
    assert.deepEqual(made.targets, { db: 5432, "db-admin": 9000 })
  })

  it("beside a box shows what is of this host to be read alone, and refuses a volume that is a directory of it", () => {
    const volumes = ["./a:/a", "./b:/b:rw,z", "./c:/c:ro", "data:/data", { type: "bind", source: "/w/d", target: "/d" }]
    const made = rewrite({ services: { db: { volumes } }, volumes: { data: {} } }, { ...wanted, network: "box-net" })
    assert.deepEqual((made.document as any).services.db.volumes, [
      "./a:/a:ro",
      "./b:/b:z,ro",
      "./c:/c:ro",
      "data:/data",
      { type: "bind", source: "/w/d", target: "/d", read_only: true }
    ])
    assert.deepEqual(fields(made.warnings), ["services.db.volumes"])
    const device = { driver_opts: { type: "none", o: "bind", device: "/w/data" } }
    const bound = rewrite(
      { services: { db: { volumes: ["data:/data"] } }, volumes: { data: device } },
      { ...wanted, network: "box-net" }
    )
    assert.deepEqual(fields(bound.problems), ["volumes.data.driver_opts"])
  })

  it("makes the same of what it made", () => {
    const from = {
      services: { db: { image: "db", ports: ["5432"], volumes: ["data:/data"], restart: "always" } },
      volumes: { data: null }
    }
    const once = document(from, db())
    assert.deepEqual(document(once, db()), once)
  })
})

describe("what a compose file draws in", () => {
  it("I-91 names other compose files and files of variables, however they are written", () => {
    assert.deepEqual(
      references({
        include: ["a.yaml", { path: ["b.yaml", "c.yaml"] }],
        services: {
          db: { extends: { file: "../base.yaml", service: "db" }, env_file: "x.env" },
          api: { extends: { service: "db" }, env_file: ["y.env", { path: "z.env", required: false }] },
          none: null
        }
      }),
      {
        files: [
          { field: "services.db.env_file", path: "x.env" },
          { field: "services.api.env_file", path: "y.env" },
          { field: "services.api.env_file", path: "z.env" }
        ],
        others: [
          { field: "include", path: "a.yaml" },
          { field: "include", path: "b.yaml" },
          { field: "include", path: "c.yaml" },
          { field: "services.db.extends.file", path: "../base.yaml" }
        ]
      }
    )
    assert.deepEqual(references("no map"), { files: [], others: [] })
    // as the first files were written: services and nothing else
    const first = references({ db: { image: "x", extends: { file: "../base.yaml" }, label_file: "../l" } })
    assert.deepEqual(first.others, [{ field: "services.db.extends.file", path: "../base.yaml" }])
    assert.deepEqual(first.files, [{ field: "services.db.label_file", path: "../l" }])
  })
})
