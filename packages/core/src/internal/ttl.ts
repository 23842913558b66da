/** How long a session may be asked to live. */

/** A thousand years, in milliseconds: the end of any such time can still be written down. */
const longest = 31_556_952_000_000

/** Whether it is a number of milliseconds that a session can live for. */
export const isTtl = (ttl: number): boolean => ttl >= 1 && ttl <= longest
