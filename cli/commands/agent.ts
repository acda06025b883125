/** `accel agent`: the agent of a node, from the package accel-image-server. */
import { Command } from 'commander';
import { AccelError } from '../../base/error.ts';
import type { CommandContext } from '../context.ts';
import { addServerFlags, checkServer, runServer, type ServerFlags } from '../server-flags.ts';
import { cleanupCommand, doctorCommand, serverOf, setupCommand } from './agent-node.ts';

const EXAMPLES = `
Examples:
  Certificates for the agents of two nodes, then on each node:
    $ accel agent certificates --out certs 10.0.0.1:65002 10.0.0.2:65002
    $ accel agent run -c accel.yaml
    $ accel agent setup -c accel.yaml
    $ accel agent doctor -c accel.yaml
`;

const RUN_EXAMPLES = `
Examples:
  $ accel agent run -c accel.yaml --check
  $ accel agent run -c accel.yaml
`;

const CERTIFICATE_EXAMPLES = `
Examples:
  $ accel agent certificates --out certs 10.0.0.1:65002 10.0.0.2:65002
  A node more, by the authority in the same folder:
    $ accel agent certificates --out certs --days 90 10.0.0.3:65002
`;

/** Declares the command. */
export function agentCommand(context: CommandContext): Command {
  const command = new Command('agent')
    .summary('share image pieces between nodes')
    .description(
      'The agent of a node: container runtimes and overlaybd ask it for images, and agents share the pieces, so that a ' +
        'registry serves an image once. Needs Node 24 and the package accel-image-server.',
    )
    .addCommand(runCommand(context))
    .addCommand(setupCommand(context))
    .addCommand(cleanupCommand(context))
    .addCommand(doctorCommand(context))
    .addCommand(certificatesCommand(context));
  return checkServer(command, context).addHelpText('after', EXAMPLES);
}

function runCommand(context: CommandContext): Command {
  const command = new Command('run')
    .summary('run the agent of this node')
    .description(
      'Runs until SIGTERM, which lets transfers in progress finish; SIGHUP reads the configuration again. With --check ' +
        'also certificates, folders and ports are looked at: whatever would keep the agent from starting on this machine.',
    );
  return addServerFlags(command, context)
    .addHelpText('after', RUN_EXAMPLES)
    .action((flags: ServerFlags) => runServer(context, { command: 'accel agent', role: 'agent', flags }));
}

/** Longest time that a node's certificate may hold, in days. */
const MOST_DAYS = 3650;

function certificatesCommand(context: CommandContext): Command {
  const command = new Command('certificates')
    .summary('make certificates for agents')
    .description(
      'Makes an authority (ca.pem, ca-key.pem; once: later calls use it) and a certificate for each node, for clusters ' +
        'that have no authority of their own. Keep ca-key.pem off the nodes: whoever has it can speak as any of them.',
    )
    .argument('<node...>', 'agents as others reach them, IP:PORT')
    .option('--out <folder>', 'folder of the files', '.')
    .option('--days <n>', 'days for which the certificates of the nodes hold', '365');
  return checkServer(command, context)
    .addHelpText('after', CERTIFICATE_EXAMPLES)
    .action(async (nodes: readonly string[], { out, days }: { readonly out: string; readonly days: string }) => {
      const number = Number(days);
      if (!Number.isInteger(number) || number < 1 || number > MOST_DAYS) {
        throw new AccelError('usage', 'invalid number of days', { expected: `1 to ${MOST_DAYS}`, found: days });
      }
      const request = { folder: out, nodes, days: number };
      const files = await serverOf(context).writeCertificates('accel agent certificates', request);
      for (const file of files) context.stdout.write(`${file}\n`);
    });
}
