/** Reading YAML, which `effect` leaves to the platform. Nobody does by default. */
import { Context, Effect, Schema } from "effect"

/** The text could not be read. */
export class YamlError extends Schema.TaggedError<YamlError>("@org/sandbox-core/YamlError")("YamlError", {
  /** What is wrong, without a word of the text itself. */
  message: Schema.String
}) {}

/** The plain value of one document. */
export const Yaml = Context.Reference<(text: string) => Effect.Effect<unknown, YamlError>>("@org/sandbox-core/Yaml", {
  defaultValue: () => () => Effect.fail(new YamlError({ message: "nothing here reads YAML" }))
})
