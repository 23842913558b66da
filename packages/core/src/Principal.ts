/** Whose sessions a program sees and moves. */
import { Context } from "effect"

/** The owner's name. It scopes, it does not authenticate. */
export class Principal extends Context.Service<Principal, string>()("@org/sandbox-core/Principal") {}
