/** The whole command. */
import { Command } from "effect/cli"
import { auth } from "./commands/auth.ts"
import { checkpoint } from "./commands/checkpoint.ts"
import { complete } from "./commands/complete.ts"
import { cp } from "./commands/cp.ts"
import { destroy } from "./commands/destroy.ts"
import { doctor } from "./commands/doctor.ts"
import { down } from "./commands/down.ts"
import { env } from "./commands/env.ts"
import { exec } from "./commands/exec.ts"
import { exportWork } from "./commands/export.ts"
import { extend } from "./commands/extend.ts"
import { gc } from "./commands/gc.ts"
import { history } from "./commands/history.ts"
import { init } from "./commands/init.ts"
import { list } from "./commands/list.ts"
import { logs } from "./commands/logs.ts"
import { open } from "./commands/open.ts"
import { operate } from "./commands/operate.ts"
import { ownerOf } from "./commands/owner-of.ts"
import { ports } from "./commands/ports.ts"
import { provider } from "./commands/provider.ts"
import { providers } from "./commands/providers.ts"
import { restore } from "./commands/restore.ts"
import { resume } from "./commands/resume.ts"
import { shell } from "./commands/shell.ts"
import { status } from "./commands/status.ts"
import { switchProvider } from "./commands/switch.ts"
import { trust } from "./commands/trust.ts"
import { up } from "./commands/up.ts"
import { validate } from "./commands/validate.ts"
import { version } from "./commands/version.ts"
import { root } from "./root.ts"

export const sandbox = root.pipe(
  Command.withSubcommands([
    { group: "Life of a session", commands: [up, down, resume, switchProvider, complete, extend, destroy, operate] },
    { group: "Keeping work", commands: [checkpoint, restore, exportWork] },
    {
      group: "Looking and working inside",
      commands: [list, status, history, exec, shell, cp, logs, env, ports, open, ownerOf, auth]
    },
    { group: "Configuration", commands: [init, validate, trust] },
    { group: "Upkeep", commands: [gc, doctor, providers, provider, version] }
  ]),
  Command.withExamples([
    { command: "sandbox up . --branch main --provider local", description: "Bring up the repository here" },
    { command: "sandbox exec <name> -- git log -1", description: "Run something in it" },
    { command: "sandbox down <name>", description: "Halt it, keeping the work" }
  ])
)
