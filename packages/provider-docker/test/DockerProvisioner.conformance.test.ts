import * as ProvisionerTest from "@org/sandbox-conformance/ProvisionerTest"
import { Spec } from "@org/sandbox-core/Session"
import { layer } from "./engine.ts"

ProvisionerTest.suite({
  name: "docker",
  layer: layer({ pull: "never" }),
  spec: new Spec({ image: "sandbox-test/base:1" }),
  capabilities: { isolation: true, network: true, workspace: false },
  patience: "20 seconds"
})
