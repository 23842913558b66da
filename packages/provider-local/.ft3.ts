import { ReadStream } from "node:tty"
const emit = ReadStream.prototype.emit
const resume = ReadStream.prototype.resume
let t0 = performance.now()
const at = () => (performance.now()-t0).toFixed(0)
export let log: Array<string> = []
export const reset = () => { log = []; t0 = performance.now() }
export const said = () => log.join(" | ")
ReadStream.prototype.emit = function (this: any, name: string, ...a: Array<unknown>) { log.push(`${name}@${at()} ${String(a[0] ?? "").slice(0,30)}`); return emit.call(this, name as never, ...a as never) } as never
ReadStream.prototype.resume = function (this: any) { log.push(`resume@${at()}(data listeners ${this.listenerCount("data")}, buffered ${this.readableLength}, flowing ${this.readableFlowing})`); return resume.call(this) } as never
const push = ReadStream.prototype.push
ReadStream.prototype.push = function (this: any, c: any) { const r = push.call(this, c); log.push(`push@${at()} ${c === null ? "null" : c.length} -> ${r}`); return r } as never
const rem = ReadStream.prototype.removeAllListeners
ReadStream.prototype.removeAllListeners = function (this: any, n: any) { log.push("DISCARD " + new Error().stack!.split("\n").slice(2, 12).map((l) => l.trim().replace(/.*\/(packages|effect)\//, "")).join(" < ")); return rem.call(this, n) } as never
