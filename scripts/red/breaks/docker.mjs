/** Deliberate breaks of how boxes of an engine are made, kept apart, looked at and removed. */
const source = "packages/provider-docker/src"
const of = (name) => ({ project: "provider-docker", file: `packages/provider-docker/test/${name}.integration.test.ts` })

export const breaks = [
  {
    invariant: "93",
    why: "boxes run as root",
    file: `${source}/DockerProvisioner.ts`,
    edits: [["(isRoot(image.user) ? defaults.user : image.user)", '(isRoot(image.user) ? "0:0" : image.user)']],
    tests: of("Security"),
    only: "I-93 "
  },
  {
    invariant: "96",
    why: "variables are given to a command as its arguments",
    file: `${source}/Exec.ts`,
    edits: [
      [
        "    Cmd: request.argv,",
        '    Cmd: ["env", ...Object.entries(env).map(([name, value]) => `${name}=${value}`), ...request.argv],'
      ]
    ],
    tests: of("Security"),
    only: "I-96 "
  },
  {
    invariant: "docker",
    why: "programs may gain privileges",
    file: `${source}/Container.ts`,
    edits: [
      ['    SecurityOpt: ["no-new-privileges:true"],\n', ""],
      ['    ["no new privileges", (host', '    ["no new privileges", true || (host']
    ],
    tests: of("Security"),
    only: "has no capability"
  },
  {
    invariant: "docker",
    why: "ports are published on every address",
    file: `${source}/Container.ts`,
    edits: [
      ['[{ HostIp: "127.0.0.1", HostPort', '[{ HostIp: "0.0.0.0", HostPort'],
      ['.filter(({ HostIp }) => HostIp !== "127.0.0.1")', ".filter(() => false)"]
    ],
    tests: of("Security"),
    only: "cannot be reached but by its ports"
  },
  {
    invariant: "docker",
    why: "nobody looks at what the engine left out",
    file: `${source}/Boxes.ts`,
    edits: [["  if (missing.length > 0) {", "  if (missing.length > 99) {"]],
    tests: of("Security"),
    only: "leaves out any part"
  },
  {
    invariant: "docker",
    why: "a box that can never run is left",
    file: `${source}/DockerProvisioner.ts`,
    edits: [["isNew && isFinal(problem)", "isNew && isFinal(problem) && false"]],
    tests: of("BadInput"),
    only: "a port of the host that is taken"
  },
  {
    invariant: "docker",
    why: "a group of the image's is not understood",
    file: `${source}/Users.ts`,
    edits: [['const [user = "", group] = Config.User.split(":")', "const [user, group] = [Config.User, undefined]"]],
    tests: of("BadInput"),
    only: "may be named with a group"
  },
  {
    invariant: "docker",
    why: "places that an image keeps data in are taken for the host's",
    file: `${source}/Container.ts`,
    edits: [["(text) => !unnamed.test(text)", "(text) => text !== unnamed.source"]],
    tests: of("BadInput"),
    only: "that keeps data in places of its own"
  },
  {
    invariant: "docker",
    why: "names of images may be paths",
    file: `${source}/Images.ts`,
    edits: [["if (!pattern.test(name)) {", 'if (!pattern.test(name) && !name.startsWith(".")) {']],
    tests: of("BadInput"),
    only: "that the engine does not have is refused"
  },
  {
    invariant: "docker",
    why: "a network that was pruned is not made again",
    file: `${source}/Boxes.ts`,
    edits: [["Effect.catchIf(started, Networks.isGone,", "Effect.catchIf(started, () => false,"]],
    tests: of("Interference"),
    only: "pruned the network starts again"
  },
  {
    invariant: "docker",
    why: "what is left of an earlier box hides the one that is there",
    file: `${source}/Boxes.ts`,
    edits: [["[...volumes, ...networks, ...containers]", "[...networks, ...containers, ...volumes]"]],
    tests: of("Interference"),
    only: "removed the volume as well"
  },
  {
    invariant: "docker",
    why: "a box that is shared is unauthorized to be removed",
    file: `${source}/Boxes.ts`,
    edits: [["/is in use|has active endpoints/", "/is in use/"]],
    tests: of("Interference"),
    only: "its network or its volume with"
  },
  {
    invariant: "105",
    why: "a container whose maker was lost is started without its directories",
    file: `${source}/Boxes.ts`,
    edits: [
      [
        '  if (container.State.Status === "created") yield* furnish(box, recipe, container)',
        '  if (container.State.Status === "new") yield* furnish(box, recipe, container)'
      ]
    ],
    tests: of("Faults"),
    only: "I-105 whose POST /containers/create"
  },
  {
    invariant: "106",
    why: "who gives a create up does not wait for it",
    file: `${source}/Engine.ts`,
    edits: [['Effect.timeoutOption(Fiber.await(fiber), "5 seconds")', "Effect.void"]],
    tests: of("Faults"),
    only: "I-106 that is given up is not over"
  },
  {
    invariant: "106",
    why: "a volume that is made late has no labels, and is left for ever",
    file: `${source}/Container.ts`,
    edits: [["VolumeOptions: { NoCopy: true, Labels: volumeLabels }", "VolumeOptions: { NoCopy: true }"]],
    tests: of("Faults"),
    only: "I-106 that goes on after the box"
  },
  {
    invariant: "104",
    why: "an engine that cannot be reached has no boxes",
    file: `${source}/Engine.ts`,
    edits: [
      [
        "    (error) => error instanceof EngineError && error.status === 404,",
        "    (error) => !(error instanceof EngineError) || error.status === 404,"
      ]
    ],
    tests: of("Faults"),
    only: "I-104 is neither"
  },
  {
    invariant: "103",
    why: "a removal that was begun is not gone on with",
    file: `${source}/DockerProvisioner.ts`,
    edits: [
      [
        "Boxes.remove(Container.boxLabel, target.id)",
        "Effect.flatMap(Boxes.containerOf(target.id), (found) => found === undefined ? Effect.void : Boxes.remove(Container.boxLabel, target.id))"
      ]
    ],
    tests: of("Faults"),
    only: "I-103 whose DELETE /networks/"
  },
  {
    invariant: "docker",
    why: "a command whose start was not answered runs on",
    file: `${source}/Exec.ts`,
    edits: [
      ["  const connection = yield* Engine.startExec(id, tty)\n", ""],
      ["  let ended = false\n", "  const connection = yield* Engine.startExec(id, tty)\n  let ended = false\n"]
    ],
    tests: of("Faults"),
    only: "fails a command whose engine is lost"
  },
  {
    invariant: "docker",
    why: "what a command started outlives it",
    file: `${source}/Exec.ts`,
    edits: [["if (!ended && (yield* settled).Running) yield* end", "if (!ended && false) yield* end"]],
    tests: of("Exec"),
    only: "that nobody waits for any more"
  },
  {
    invariant: "docker",
    why: "what a command prints is taken for the engine's word",
    file: `${source}/Exec.ts`,
    edits: [["&& !(yield* isStarted)) {", "&& true) {"]],
    tests: of("Exec"),
    only: "is just a command"
  },
  {
    invariant: "91",
    why: "links in a box are gone through",
    file: `${source}/Links.ts`,
    edits: [['info === undefined || info.linkTarget === "" ? undefined : path', "undefined"]],
    tests: of("Files"),
    only: "I-91 "
  },
  {
    invariant: "docker",
    why: "files are written where no command sees them",
    file: `${source}/Files.ts`,
    edits: [["  if (unseen(target, container)) return yield* inMemory(directory)\n", ""]],
    tests: of("Files"),
    only: "are refused where the engine would put them"
  },
  {
    invariant: "docker",
    why: "the keeper of a box ends before what runs in it",
    file: `${source}/Container.ts`,
    edits: [["  kill -TERM -1 2>/dev/null\n", "  exit 0\n"]],
    tests: of("Halting"),
    only: "of a box of sandbox-test/base:1 lets services end"
  }
]
