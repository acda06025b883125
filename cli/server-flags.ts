/** Flags that `accel serve` and `accel agent` share, and the way into the package accel-image-server. */
import type { Command } from 'commander';
import { AccelError } from '../base/error.ts';
import type { CommandContext } from './context.ts';

/** Flags of every command of the server. */
export interface ServerFlags {
  readonly config?: string;
  readonly check?: boolean;
}

/** Adds the flags, and lets help ask for the package. */
export function addServerFlags(command: Command, context: CommandContext): Command {
  return checkServer(command, context)
    .option('-c, --config <file>', 'configuration, YAML (docs/configuration.md); required')
    .option('--check', 'check the configuration and end');
}

/**
 * Lets the help of a command fail where the server cannot run, with the line that installs it. The documentation and the
 * completions read the command tree without access to the server, and are not checked.
 */
export function checkServer(command: Command, context: CommandContext): Command {
  return command.addHelpText('before', () => {
    context.server?.assertUsable(`accel ${isPart(command) ? command.parent?.name() : command.name()}`);
    return '';
  });
}

/** Runs a role of the server until a signal ends it. */
export async function runServer(
  context: CommandContext,
  { command, role, flags }: { readonly command: string; readonly role: string; readonly flags: ServerFlags },
): Promise<void> {
  if (context.server === undefined) throw new AccelError('internal', 'no access to the server package');
  context.server.assertUsable(command);
  const { config, check = false } = flags;
  if (config === undefined) throw new AccelError('usage', `${command} needs a configuration file: -c FILE`);
  await context.server.run(command, { role, config, check });
}

/** Whether it is a part of another command, such as `accel agent run`. */
function isPart({ parent }: Command): boolean {
  return parent !== null && parent.parent !== null;
}
