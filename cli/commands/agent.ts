/** `accel agent`: the agent of a node, from the package accel-image-server. */
import { Command } from 'commander';
import type { CommandContext } from '../context.ts';
import { addServerFlags, checkServer, runServer, type ServerFlags } from '../server-flags.ts';

const EXAMPLES = `
Examples:
  $ accel agent run -c accel.yaml
  $ accel agent run -c accel.yaml --check
`;

/** Declares the command. */
export function agentCommand(context: CommandContext): Command {
  const command = new Command('agent')
    .summary('share image pieces between nodes')
    .description(
      'The agent of a node: container runtimes and overlaybd ask it for images, and agents share the pieces, so that a ' +
        'registry serves an image once. Needs Node 24 and the package accel-image-server.',
    )
    .addCommand(runCommand(context));
  return checkServer(command, context).addHelpText('after', EXAMPLES);
}

function runCommand(context: CommandContext): Command {
  const command = new Command('run')
    .summary('run the agent of this node')
    .description('Runs until SIGTERM, which lets transfers in progress finish; SIGHUP reads the configuration again.');
  return addServerFlags(command, context)
    .addHelpText('after', EXAMPLES)
    .action((flags: ServerFlags) => runServer(context, { command: 'accel agent', role: 'agent', flags }));
}
