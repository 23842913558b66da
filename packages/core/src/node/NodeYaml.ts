/** YAML on Node: loaded when the first text is read, which few commands do. */
import { Effect, Layer } from "effect"
import { Yaml, YamlError } from "../Yaml.ts"

const parse = Effect.fnUntraced(function* (text: string) {
  const { parseDocument } = yield* Effect.promise(() => import("yaml"))
  const document = parseDocument(text, { prettyErrors: true, strict: true, uniqueKeys: true, merge: true })
  const [problem] = document.errors
  if (problem !== undefined) {
    const [position] = problem.linePos ?? []
    const where = position === undefined ? "" : ` (line ${position.line}, column ${position.col})`
    return yield* new YamlError({ message: `${problem.code.toLowerCase().replaceAll("_", " ")}${where}` })
  }
  // an alias that stands for too much, or for what it is part of
  return yield* Effect.mapError(
    Effect.try({ try: (): unknown => document.toJS({ maxAliasCount: 100 }), catch: () => undefined }),
    () => new YamlError({ message: "an alias stands for too much" })
  )
})

export const layer: Layer.Layer<never> = Layer.succeed(Yaml)(parse)
