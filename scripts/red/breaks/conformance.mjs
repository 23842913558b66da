const core = "packages/core/src"

const tests = (file) => ({ project: "conformance", file: `packages/conformance/test/${file}.test.ts` })

export const breaks = [
  {
    invariant: "103",
    why: "a destroy that failed for good is taken for done",
    file: `${core}/Provisioners.ts`,
    edits: [
      [
        'yield* within(target.scope, "destroy", call("destroy", "stop", provider.destroy(target.ref ?? target.key)))\n',
        'yield* Effect.ignore(within(target.scope, "destroy", call("destroy", "stop", provider.destroy(target.ref ?? target.key))))\n    if (Date.now() > 0) return\n'
      ]
    ],
    tests: tests("dispatcher"),
    only: "I-103 "
  },
  {
    invariant: "103",
    why: "a later refusal makes one forget that an earlier try may have been carried out",
    file: `${core}/Provisioners.ts`,
    edits: [['mayBeApplied ? "unknown" : error.outcome', "error.outcome"]],
    tests: tests("dispatcher"),
    only: "I-103 "
  },
  {
    invariant: "104",
    why: "what cannot be looked for is absent",
    file: `${core}/Provisioners.ts`,
    edits: [
      [
        'Effect.succeed<Presence>({ _tag: "unknown", why: error.message })',
        'Effect.succeed<Presence>({ _tag: "absent", ...(error.message === "" ? {} : {}) })'
      ]
    ],
    tests: tests("dispatcher"),
    only: "I-104 "
  },
  {
    invariant: "104",
    why: "a box of another place is looked for here",
    file: `${core}/Provisioners.ts`,
    edits: [["here === scope ? effect :", 'here !== "" ? effect :']],
    tests: tests("dispatcher"),
    only: "I-104 "
  },
  {
    invariant: "104",
    why: "the reference provider takes a root that is not mounted for an empty one",
    file: "packages/conformance/src/reference/provider.ts",
    edits: [["    exists\n      ? Effect.void\n", '    exists || root !== ""\n      ? Effect.void\n']],
    tests: tests("reference"),
    only: "I-104 takes"
  },
  {
    invariant: "105",
    why: "a spoiled call is not repeated",
    file: `${core}/Provisioners.ts`,
    edits: [
      [
        "Schedule.while(({ input }) => input.retryable)",
        'Schedule.while(({ input }) => input.retryable && input.outcome !== "unknown")'
      ]
    ],
    tests: tests("ProvisionerLaws"),
    only: "is kept by the memory provider: I-105 a create whose reply was lost"
  },
  {
    invariant: "105",
    why: "a bad day has no lost replies",
    file: "packages/conformance/src/Faulted.ts",
    edits: [
      [
        "return fuse.left === -1 ? fault(call, error) : call",
        "return fuse.left === Number.NaN ? fault(call, error) : call"
      ]
    ],
    tests: tests("Faulted"),
    only: "I-105 shows"
  },
  {
    invariant: "106",
    why: "the reference provider labels a box after it has made it",
    file: "packages/conformance/src/reference/provider.ts",
    edits: [
      [
        "    yield* Effect.catch(fs.rename(draft, at(id)), (cause) =>\n",
        '    yield* fs.remove(path.join(draft, "box.json"))\n    yield* Effect.catch(fs.rename(draft, at(id)), (cause) =>\n'
      ],
      [
        "    return refOf(id, key)\n  }, Effect.scoped)\n",
        '    yield* Effect.sleep(400)\n    yield* fs.writeFileString(at(id, "box.json"), yield* Schema.encodeEffect(BoxFile)({ key, labels }))\n    return refOf(id, key)\n  }, Effect.scoped)\n'
      ]
    ],
    tests: tests("reference"),
    only: "interruption: I-106"
  },
  {
    invariant: "107",
    why: "a provider without files reads nothing instead of refusing",
    file: `${core}/Provisioners.ts`,
    edits: [['Stream.fromEffect(missing("files"))', "Stream.empty"]],
    tests: tests("dispatcher"),
    only: "I-107 "
  },
  {
    invariant: "108",
    why: "what can never succeed is tried again",
    file: `${core}/Provisioners.ts`,
    edits: [
      [
        "Schedule.while(({ input }) => input.retryable)",
        'Schedule.while(({ input }) => input.retryable || input.reason === "QuotaExceeded")'
      ]
    ],
    tests: tests("dispatcher"),
    only: "I-108 repeats"
  },
  {
    invariant: "108",
    why: "a caller who gives up is not heard between two tries",
    file: `${core}/Provisioners.ts`,
    edits: [
      [
        'Effect.withSpan(`Provisioner.${name}.${operation}`, { attributes: { "sandbox.provider": name } })\n      )',
        'Effect.withSpan(`Provisioner.${name}.${operation}`, { attributes: { "sandbox.provider": name } }),\n        Effect.uninterruptible\n      )'
      ]
    ],
    tests: tests("dispatcher"),
    only: "I-108 gives up"
  },
  {
    invariant: "107",
    why: "a local box is made without what was asked of it",
    file: "packages/provider-local/src/LocalProvisioner.ts",
    edits: [["    yield* checkSpec(intent.spec)\n    const { key", "    const { key"]],
    tests: { project: "provider-local", file: "packages/provider-local/test/LocalProvisioner.faults.test.ts" },
    only: "I-107 I-108 "
  }
]
