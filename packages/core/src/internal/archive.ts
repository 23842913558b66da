export * from "../Archive.ts"
