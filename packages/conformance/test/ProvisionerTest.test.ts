import * as Commands from "@org/sandbox-conformance/Commands"
import * as ProvisionerTest from "@org/sandbox-conformance/ProvisionerTest"
import * as MemoryProvisioner from "@org/sandbox-core/MemoryProvisioner"
import { Provisioner } from "@org/sandbox-core/Provisioner"
import { Layer } from "effect"

const workspaceSource = {
  repository: "/repo",
  branch: "main",
  commit: "0".repeat(40),
  fallbackBranch: "sandbox/main"
}

ProvisionerTest.suite({
  name: "memory",
  layer: MemoryProvisioner.layer({ cloud: MemoryProvisioner.makeCloud() }),
  commands: Commands.memory,
  workspaceSource
})

ProvisionerTest.suite({
  name: "memory, where a halt is terminal",
  layer: MemoryProvisioner.layer({ cloud: MemoryProvisioner.makeCloud(), haltIsTerminal: true }),
  capabilities: { start: false },
  commands: Commands.memory,
  workspaceSource
})

const { exec: _, workspace: __, ...bare } = MemoryProvisioner.make({ cloud: MemoryProvisioner.makeCloud() })

ProvisionerTest.suite({
  name: "memory, without exec and workspace",
  layer: Layer.succeed(Provisioner, bare),
  capabilities: { exec: false, workspace: false }
})
