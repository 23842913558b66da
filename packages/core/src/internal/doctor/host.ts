/** What the product needs of this host: git, a place for its state, and nothing in the way of either. */
import { Effect, FileSystem, Option, Path, Result, Schema } from "effect"
import * as Git from "../../Git.ts"
import { Directories, Holder, Host } from "../../Host.ts"
import { Ledger } from "../../Ledger.ts"
import * as RepositoryLock from "../../RepositoryLock.ts"
import type { Session } from "../../Session.ts"
import * as hostCommand from "../hostCommand.ts"
import { count } from "../unsaved.ts"
import { ok, problem, warning } from "./diagnosis.ts"

/** The oldest git that has everything we ask of it. */
const oldest = [2, 31] as const

export const git = Effect.gen(function* () {
  const way = `install git ${oldest.join(".")} or later, and make sure that it is on the PATH`
  const answer = yield* Effect.result(Git.output(["--version"]))
  if (Result.isFailure(answer)) return problem("git", answer.failure.message, way)
  const version = answer.success.trim().replace(/^git version /, "")
  const [major = 0, minor = 0] = version.split(".").map(Number)
  const isOld = major < oldest[0] || (major === oldest[0] && minor < oldest[1])
  return isOld ? problem("git", `${version} is too old`, way) : ok("git", version)
})

/** Bytes below which saving a session is likely to fail. */
const scarce = 512 * 1024 * 1024

export const stateDirectory = Effect.gen(function* () {
  const fs = yield* FileSystem.FileSystem
  const { state } = yield* Directories
  const about = "state"
  const seen = yield* Effect.result(fs.stat(state))
  if (Result.isFailure(seen)) {
    if (seen.failure.reason._tag === "NotFound") return [ok(about, `${state}: nothing was ever kept there`)]
    return [problem(about, seen.failure.message, `make ${state} readable for this user`)]
  }
  if (seen.success.type !== "Directory") {
    return [problem(about, `${state} is no directory`, "move it aside, or set XDG_STATE_HOME to another place")]
  }
  const writable = yield* Effect.result(fs.access(state, { readable: true, writable: true }))
  if (Result.isFailure(writable)) {
    return [
      problem(about, `${state} cannot be written to, and nothing can be recorded`, `run \`chmod u+rwx ${state}\``)
    ]
  }
  const open = (seen.success.mode & 0o077) !== 0
  const access = open
    ? warning(
        about,
        `others may look into ${state} (mode ${(seen.success.mode & 0o777).toString(8)})`,
        `run \`chmod 700 ${state}\``
      )
    : ok(about, `${state}: its owner may write there, and nobody else look`)
  return [access, ...(yield* space(state))]
})

/** `df -Pk`: one line of figures in kilobytes, the fourth being what is free. */
const space = Effect.fnUntraced(function* (directory: string) {
  let text = ""
  const code = yield* hostCommand
    .run({
      argv: ["df", "-Pk", directory],
      cwd: "/",
      env: { LC_ALL: "C" },
      onOutput: (more) =>
        Effect.sync(() => {
          text += more
        })
    })
    .pipe(Effect.orElseSucceed(() => undefined))
  const free = Number(text.trim().split("\n").at(-1)?.split(/\s+/)[3]) * 1024
  if (code !== 0 || !Number.isFinite(free)) return []
  const finding = `${Math.floor(free / (1024 * 1024))} MiB are free`
  return free < scarce ? [problem("disk", finding, `free space on the disk of ${directory}`)] : [ok("disk", finding)]
})

const decodeHolder = Schema.decodeUnknownOption(Schema.fromJsonString(Holder))

/** Locks of processes that died while they changed a repository. */
export const repositoryLocks = Effect.fnUntraced(function* (sessions: ReadonlyArray<Session>) {
  const fs = yield* FileSystem.FileSystem
  const host = yield* Host
  const { shared } = yield* Ledger
  const repositories = new Set(sessions.map(({ repository }) => repository).filter((place) => place.startsWith("/")))
  const left = yield* Effect.forEach(
    [...repositories],
    Effect.fnUntraced(function* (repository) {
      const file = yield* Effect.option(RepositoryLock.fileOf(repository))
      if (Option.isNone(file)) {
        // it may well be where another host has it
        if (shared) return []
        const way = "put it back where it was; sessions of it can be neither resumed nor exported until then"
        return [warning(`repository ${repository}`, "git finds no repository there", way)]
      }
      const holder = Option.flatMap(yield* Effect.option(fs.readLink(file.value)), decodeHolder)
      if (Option.isNone(holder) || holder.value.host !== host.self.host) return []
      if (yield* host.isAlive(holder.value)) return []
      const finding = `process ${holder.value.pid} died holding ${file.value}`
      return [warning(`repository ${repository}`, finding, "nothing: whoever needs the repository next removes it")]
    }),
    { concurrency: 4 }
  )
  return left.flat()
})

/** Clones that were begun for the cache and never finished. */
export const mirrors = Effect.gen(function* () {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const host = yield* Host
  const place = path.join((yield* Directories).cache, "mirrors")
  const names = yield* Effect.orElseSucceed(fs.readDirectory(place), () => [])
  let left = 0
  for (const name of names.filter((name) => name.startsWith("clone-"))) {
    const maker = yield* Effect.option(fs.readFileString(path.join(place, name, "maker.json")))
    const holder = Option.flatMap(maker, decodeHolder)
    const dead = Option.isNone(holder) || holder.value.host !== host.self.host || !(yield* host.isAlive(holder.value))
    if (dead) left += 1
  }
  const kept = names.filter((name) => name.endsWith(".git")).length
  if (left === 0)
    return kept === 0 ? [] : [ok("mirrors", `${count(kept, "remote repository").replace(/ys$/, "ies")} in ${place}`)]
  const way = "nothing: the next clone removes them"
  return [warning("mirrors", `${count(left, "unfinished clone")} in ${place}`, way)]
})
