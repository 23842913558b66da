/** A count or a seed as somebody typed it; throws what is wrong with it. */
export const number = (name: string, text: string): number => {
  const value = Number(text)
  if (!Number.isSafeInteger(value) || value < 0) throw new Error(`${name} takes a whole number, and not ${text}`)
  return value
}
