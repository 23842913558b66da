import * as Commands from "@org/sandbox-conformance/Commands"
import * as ProvisionerTest from "@org/sandbox-conformance/ProvisionerTest"
import * as MemoryProvisioner from "@org/sandbox-core/MemoryProvisioner"
import { Provisioner, ProvisionerError } from "@org/sandbox-core/Provisioner"
import { Effect, Layer } from "effect"

const workspaceSource = {
  repository: "/repo",
  branch: "main",
  commit: "0".repeat(40),
  fallbackBranch: "sandbox/main"
}

ProvisionerTest.suite({
  name: "memory",
  layer: MemoryProvisioner.layer({ cloud: MemoryProvisioner.makeCloud() }),
  capabilities: { endpoint: false },
  commands: Commands.memory,
  workspaceSource
})

ProvisionerTest.suite({
  name: "memory, where a halt is terminal",
  layer: MemoryProvisioner.layer({ cloud: MemoryProvisioner.makeCloud(), haltIsTerminal: true }),
  capabilities: { endpoint: false, start: false },
  commands: Commands.memory,
  workspaceSource
})

const { exec: _, files: __, workspace: ___, ...bare } = MemoryProvisioner.make({ cloud: MemoryProvisioner.makeCloud() })

ProvisionerTest.suite({
  name: "memory, without exec, files and workspace",
  layer: Layer.succeed(Provisioner, bare),
  capabilities: { endpoint: false, exec: false, files: false, workspace: false }
})

const all = MemoryProvisioner.make({ cloud: MemoryProvisioner.makeCloud() })

ProvisionerTest.suite({
  name: "memory, without terminals",
  layer: Layer.succeed(Provisioner, {
    ...all,
    exec: (ref, request) =>
      request.tty === undefined
        ? all.exec!(ref, request)
        : Effect.fail(
            new ProvisionerError({
              provider: "memory",
              operation: "exec",
              reason: "Unsupported",
              outcome: "not_applied",
              message: "no terminals"
            })
          )
  }),
  capabilities: { endpoint: false, terminal: false },
  commands: Commands.memory
})
