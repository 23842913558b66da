/** Deliberate breaks of how images are built of a directory, and of what is understood of an engine that is not Docker's. */
const source = "packages/provider-docker/src"
const of = (name) => ({ project: "provider-docker", file: `packages/provider-docker/test/${name}.test.ts` })
const build = of("Build.integration")

export const breaks = [
  {
    invariant: "dockerBuild",
    why: "everybody who needs an image builds it",
    file: `${source}/Build.ts`,
    edits: [["(yield* alone(context.name)(made))", "(yield* made)"]],
    tests: build,
    only: "is built once for all boxes"
  },
  {
    invariant: "dockerBuild",
    why: "the contents of files do not count",
    file: `${source}/BuildContext.ts`,
    edits: [['return kind === "file" ? Stream.concat(said, contentOf(top, entry)) : said', "return said"]],
    tests: build,
    only: "is built anew when a file"
  },
  {
    invariant: "dockerBuild",
    why: "the modes of files do not count",
    file: `${source}/BuildContext.ts`,
    edits: [["line([kind, path, mode,", "line([kind, path,"]],
    tests: build,
    only: "is built anew when the mode"
  },
  {
    invariant: "dockerBuild",
    why: "arguments do not count",
    file: `${source}/Build.ts`,
    edits: [["[place.dockerfile, args, build.target ?? null]", "[place.dockerfile, build.target ?? null]"]],
    tests: build,
    only: "is built anew when it is"
  },
  {
    invariant: "dockerBuild",
    why: "an image that is asked for is not used",
    file: `${source}/DockerProvisioner.ts`,
    edits: [["image === undefined && build !== undefined ? build", "build !== undefined ? build"]],
    tests: build,
    only: "goes before the image"
  },
  {
    invariant: "dockerBuild",
    why: "a registry is asked for an image that was built here",
    file: `${source}/DockerProvisioner.ts`,
    edits: [["Build.isBuilt(image) ? Build.again(image, build, pull) : Images", "Images"]],
    tests: build,
    only: "that was removed is built again"
  },
  {
    invariant: "dockerBuild",
    why: "other files are built under an image's old name",
    file: `${source}/Build.ts`,
    edits: [["  if (context.name !== image) {", "  if (false as boolean) {"]],
    tests: build,
    only: "that was removed is built again"
  },
  {
    invariant: "dockerBuild",
    why: "what is left out is sent",
    file: `${source}/BuildContext.ts`,
    edits: [["if (!ignored.leavesOut(path) || always.includes(path))", "if (true as boolean)"]],
    tests: build,
    only: "are those that the docker command sends"
  },
  {
    invariant: "dockerBuild",
    why: "long names are cut off",
    file: `${source}/Tar.ts`,
    edits: [["name.length > 100 ?", "name.length > 1000 ?"]],
    tests: build,
    only: "are those that the docker command sends"
  },
  {
    invariant: "dockerBuild",
    why: "a whole file is read at once",
    file: `${source}/BuildContext.ts`,
    edits: [["Math.min(missing, 256 * 1024)", "missing"]],
    tests: build,
    only: "are sent without a third"
  },
  {
    invariant: "dockerBuild",
    why: "a command that fails is told without its output",
    file: `${source}/Build.ts`,
    edits: [["(output + stream).slice(-longest)", '""']],
    tests: build,
    only: "for a command that fails"
  },
  {
    invariant: "dockerBuild",
    why: "a repository's link leads to another directory of this host",
    file: `${source}/Build.ts`,
    edits: [["if (place.isTheirs && isOutside", "if (false && isOutside"]],
    tests: build,
    only: "that a repository names"
  },
  {
    invariant: "dockerBuild",
    why: "a directory is relative to wherever the command runs",
    file: `${source}/Build.ts`,
    edits: [["path.resolve(place.folder, context)", "path.resolve(context)"]],
    tests: build,
    only: "is relative to the file"
  },
  {
    invariant: "dockerBuild",
    why: "an exception is not looked for in what is left out",
    file: `${source}/DockerIgnore.ts`,
    edits: [["start === undefined || `${start}/`", "start !== undefined && `${start}/`"]],
    tests: of("DockerIgnore"),
    only: "tells in which directories"
  },
  {
    invariant: "dockerBuild",
    why: "the first pattern counts",
    file: `${source}/DockerIgnore.ts`,
    edits: [["rules.findLast(", "rules.find("]],
    tests: of("DockerIgnore"),
    only: "is read to its end"
  },
  {
    invariant: "dockerBuild",
    why: "one capability may be left",
    file: `${source}/Container.ts`,
    edits: [["capabilities.every(", "capabilities.some("]],
    tests: of("Podman.integration"),
    only: "makes no box with a capability left"
  },
  {
    invariant: "dockerBuild",
    why: "Podman's status for a taken name is an error",
    file: `${source}/Boxes.ts`,
    edits: [["error.status === 409 || ", "error.status === 409 && "]],
    tests: of("Podman.integration"),
    only: "refuses a name"
  },
  {
    invariant: "dockerContext",
    why: "a file that has changed is sent under the digest of what it was",
    file: `${source}/BuildContext.ts`,
    edits: [
      ['if (info.type !== "File" || Number(info.size) !== size || timeOf(info) !== mtime)', "if (false as boolean)"]
    ],
    tests: of("BuildContext"),
    only: "are not sent when one has changed"
  },
  {
    invariant: "dockerContext",
    why: "times count",
    file: `${source}/BuildContext.ts`,
    edits: [["line([kind, path, mode,", "line([kind, path, entry.mtime, mode,"]],
    tests: of("BuildContext"),
    only: "are the same in another place"
  },
  {
    invariant: "dockerContext",
    why: "the size of a large file is cut off",
    file: `${source}/Tar.ts`,
    edits: [["size >= 8 ** 11", "size >= 8 ** 12"]],
    tests: of("BuildContext"),
    only: "may be larger than eight gigabytes"
  },
  {
    invariant: "91",
    why: "links among many directories are not seen",
    file: `${source}/Links.ts`,
    edits: [['if (kind === "symlink" ||', 'if (kind === "hardlink" &&']],
    tests: of("Files.integration"),
    only: "I-91 are refused for one link"
  }
]
