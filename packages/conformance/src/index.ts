export * as Commands from "./Commands.ts"
export * as Faults from "./Faults.ts"
export * as Law from "./Law.ts"
export * as ProvisionerLaws from "./ProvisionerLaws.ts"
