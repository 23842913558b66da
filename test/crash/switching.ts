/** Switches to another provider, and what finds one that died. */
import { execFileSync } from "node:child_process"
import { appendFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { work } from "../support/work.ts"
import { demand, orphans, rows } from "./checks.ts"
import { dies, kept, on, quietly, request, type Scenario, stopped, withService, worked, works } from "./prepare.ts"
import { told, type World } from "./world.ts"

const there = (w: World, ...argv: ReadonlyArray<string>) => ["switch", "s", "--to", w.boxes.away, ...argv]

const back = (w: World) => ["switch", "s", "--to", w.boxes.provider]

/** The session is usable on a provider, and nothing of another box of it is left. */
const isOn = (provider: string) => (w: World) => {
  const [row] = rows(w)
  demand(row?.provider === provider, "wrong", () => `it is done, and the session is on ${row?.provider}`)
  demand(row?.state === "ready", "wrong", () => `it is done, and the session is ${row?.state}`)
  demand(orphans(w).length === 0, "leaked", () => "it is done, and a box is left")
}

const isThere = (w: World) => isOn(w.boxes.away)(w)
const isBack = (w: World) => isOn(w.boxes.provider)(w)

/** Work of every kind, with a stash: in a clone, where that is the session's own. */
const stashed = async (w: World) => {
  await quietly(w, "up", `file://${w.app}`, "--branch", "main", "--name", "s", ...on(w))
  works(w, (directory) => {
    const git = (...args: ReadonlyArray<string>) => execFileSync("git", ["-C", directory, ...args], { env: w.env })
    for (const text of ["first", "second"]) {
      appendFileSync(join(directory, "src.txt"), `put aside: ${text}\n`)
      git("stash", "push", "--quiet", "--message", text)
    }
    git("branch", "of-its-own")
    work(directory)
  })
  return [kept(w)]
}

/** A session that was switched once, and worked in since. */
const moved = async (w: World) => {
  const [before] = await worked(w)
  await quietly(w, ...there(w))
  works(w, (directory) => writeFileSync(join(directory, "later.txt"), "work of the afternoon\n"))
  return [before!, kept(w)]
}

const completed = async (w: World) => {
  const before = await worked(w)
  await quietly(w, "complete", "s")
  return before
}

/** A session whose new box could not be made, and that was not to go back. */
const held = async (w: World) => {
  const before = await worked(w)
  const ended = await w.run([...there(w, "--on-failure", "hold"), "--json"], {
    record: join(w.directory, "points"),
    refused: noBox(w)
  })
  if (rows(w)[0]?.state !== "failed") throw new Error(`preparing: ${told(ended)}`)
  return before
}

/** No box can be made there. */
const noBox = (w: World) => [`provider ${w.boxes.away} provision`]

/** What makes a checkout in a box there. */
const placing = ({ boxes }: World) => (boxes.away === "docker" ? "files.write" : "workspace.attach")

/** A box can be made there, and no checkout in it. */
const noCheckout = (w: World) => [`provider ${w.boxes.away} ${placing(w)}`]

/** The old box can be neither stopped nor removed. */
const noStop = (w: World) => [`provider ${w.boxes.provider} stop`, `provider ${w.boxes.provider} destroy`]

/** Where a switch has died that something else finds, by what it had got to. */
const deaths: Readonly<Record<string, (w: World) => string>> = {
  claimed: () => "ledger after acquire for switch to switching",
  stopped: (w) => `provider ${w.boxes.provider} after stop`,
  written: () => "ledger after commit in written",
  made: (w) => `provider ${w.boxes.away} after provision`,
  placed: (w) => `provider ${w.boxes.away} after ${placing(w)}`
}

/** Commands that find a switch that has died there. */
const finders: Readonly<Record<string, (w: World) => ReadonlyArray<string>>> = {
  resume: () => ["resume", "s", ...request],
  gc: () => ["gc"],
  down: () => ["down", "s", ...request],
  switch: (w) => [...there(w), ...request],
  back: (w) => [...back(w), ...request],
  destroy: () => ["destroy", "s", "--force", ...request]
}

const pairs = [
  ["claimed", "switch"],
  ["claimed", "gc"],
  ["stopped", "resume"],
  ["stopped", "gc"],
  ["written", "resume"],
  ["written", "gc"],
  ["written", "down"],
  ["written", "destroy"],
  ["made", "resume"],
  ["made", "gc"],
  ["made", "down"],
  ["made", "switch"],
  ["made", "back"],
  ["made", "destroy"],
  ["placed", "resume"],
  ["placed", "gc"],
  ["placed", "down"],
  ["placed", "back"]
] as const

const found = pairs.map(
  ([at, finder]): Scenario => ({
    name: `switch/dead-${at}/${finder}`,
    prepare: async (w) => {
      const before = await worked(w)
      await dies(w, there(w), deaths[at]!(w))
      return before
    },
    command: finders[finder]!,
    switches: true
  })
)

const all: ReadonlyArray<Omit<Scenario, "switches">> = [
  { name: "switch/ready", prepare: worked, command: (w) => [...there(w), ...request], done: isThere, isTold: true },
  { name: "switch/clone", prepare: stashed, command: (w) => [...there(w), ...request], done: isThere, isTold: true },
  {
    name: "switch/service",
    only: "local",
    prepare: withService,
    command: (w) => [...there(w), ...request],
    done: isThere,
    living: true,
    isTold: true
  },
  { name: "switch/stopped", prepare: stopped, command: (w) => [...there(w), ...request], done: isThere, isTold: true },
  {
    name: "switch/completed",
    prepare: completed,
    command: (w) => [...there(w), ...request],
    done: isThere,
    isTold: true
  },
  { name: "switch/back", prepare: moved, command: (w) => [...back(w), ...request], done: isBack, isTold: true },
  { name: "switch/failed", prepare: held, command: (w) => [...back(w), ...request], done: isBack },
  { name: "switch/held", prepare: held, command: () => ["resume", "s", ...request], done: isThere },
  {
    name: "switch/hold",
    prepare: worked,
    command: (w) => [...there(w, "--on-failure", "hold"), ...request],
    refused: noBox,
    ends: 2
  },
  { name: "switch/refused", prepare: worked, command: (w) => [...there(w), ...request], refused: noBox, ends: 2 },
  { name: "switch/broken", prepare: worked, command: (w) => [...there(w), ...request], refused: noCheckout, ends: 2 },
  {
    name: "switch/stop-fails",
    prepare: worked,
    command: (w) => [...there(w, "--on-stop-failure", "record"), ...request],
    refused: noStop
  },
  {
    name: "switch/stop-aborts",
    prepare: worked,
    command: (w) => [...there(w, "--on-stop-failure", "abort"), ...request],
    refused: noStop,
    ends: 2
  }
]

export const switching: ReadonlyArray<Scenario> = [
  ...all.map((scenario): Scenario => ({ ...scenario, switches: true })),
  ...found
]
