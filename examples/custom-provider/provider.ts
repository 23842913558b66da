/**
 * The provider of this example, as a configuration names it: `use: ./provider.ts`. It is the reference provider, whose
 * text is the one to copy; a provider of your own stands here in its place.
 */
export { default } from "@org/sandbox-conformance/reference"
