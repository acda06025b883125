/** `accel serve`: the conversion service and the roles of a cluster, from the package accel-image-server. */
import { Command, Option } from 'commander';
import type { CommandContext } from '../context.ts';
import { addServerFlags, runServer, type ServerFlags } from '../server-flags.ts';

interface ServeFlags extends ServerFlags {
  readonly role: string;
}

const EXAMPLES = `
Examples:
  $ accel serve -c accel.yaml
  $ accel serve -c accel.yaml --check
`;

/** Declares the command. */
export function serveCommand(context: CommandContext): Command {
  const command = new Command('serve')
    .summary('convert images as they are pushed')
    .description(
      'Runs until SIGTERM, which lets work in progress finish; SIGHUP reads the configuration again. Needs Node 24 and the ' +
        'package accel-image-server.',
    );
  return addServerFlags(command, context)
    .addOption(
      new Option('--role <role>', 'part of the service that this process is')
        .choices(['all', 'api', 'worker', 'admission', 'controller'])
        .default('all'),
    )
    .addHelpText('after', EXAMPLES)
    .action((flags: ServeFlags) =>
      runServer(context, { command: 'accel serve', role: flags.role === 'all' ? 'service' : flags.role, flags }),
    );
}
