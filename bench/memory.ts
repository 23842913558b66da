/** The most memory that processes had at once, as Linux tells it. */
import { readdirSync, readFileSync } from "node:fs"

const attempt = (path: string): string => {
  try {
    return readFileSync(path, "utf8")
  } catch {
    return "" // it has ended
  }
}

/** A process and all that it started, as far as it still runs. */
const family = (pid: number): ReadonlyArray<number> => {
  const parents = readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map((name) => {
      const stat = attempt(`/proc/${name}/stat`)
      return { pid: Number(name), parent: Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]) }
    })
  const members = [pid]
  for (const member of members) members.push(...parents.filter(({ parent }) => parent === member).map(({ pid }) => pid))
  return members
}

/** High-water mark in megabytes. */
const peak = (pid: number): number =>
  Number(/^VmHWM:\s*(\d+) kB/m.exec(attempt(`/proc/${pid}/status`))?.[1] ?? 0) / 1024

/** Runs something that a process does, and answers the largest sum of high-water marks of it and its children, in megabytes. */
export const during = async (pid: number, run: () => Promise<unknown>): Promise<number> => {
  let largest = 0
  const look = () => {
    largest = Math.max(
      largest,
      family(pid).reduce((sum, member) => sum + peak(member), 0)
    )
  }
  look()
  const timer = setInterval(look, 10)
  await run().finally(() => clearInterval(timer))
  look()
  return largest
}
