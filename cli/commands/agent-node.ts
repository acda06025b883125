/** `accel agent setup` and `cleanup`: the runtimes of a node and its agent. */
import { Command } from 'commander';
import { AccelError } from '../../base/error.ts';
import type { CommandContext } from '../context.ts';
import { diagnosisDocument, renderDiagnosis, renderNodeReport } from '../node-report.ts';
import { checkServer } from '../server-flags.ts';
import type { NodeCommand, ServerAccess } from '../server-package.ts';

interface NodeFlags {
  readonly config?: string;
  readonly root: string;
  readonly restart?: boolean;
  readonly force?: boolean;
}

/** Declares `accel agent setup`. */
export function setupCommand(context: CommandContext): Command {
  const command = new Command('setup')
    .summary('let the runtimes of this node pull through the agent')
    .description(
      'Edits the configurations of containerd, CRI-O, podman, Docker and overlaybd, whichever are installed, so that they ask the ' +
        'agent first and the registry after it. Their other settings stay. Again, it changes only what is not right. Restarts ' +
        'nothing unless asked; prints what needs it.',
    )
    .option('-c, --config <file>', 'configuration, YAML (docs/configuration.md); required')
    .option('--root <folder>', 'root folder of the node', '/')
    .option('--restart', 'restart or reload the daemons that need it');
  return checkServer(command, context)
    .addHelpText(
      'after',
      `
Examples:
  $ accel agent setup -c /etc/accel/accel.yaml
  $ accel agent setup -c accel.yaml --root /host --restart
`,
    )
    .action((flags: NodeFlags) => {
      if (flags.config === undefined) {
        throw new AccelError('usage', 'accel agent setup needs a configuration file: -c FILE');
      }
      return change(context, {
        command: 'setup',
        config: flags.config,
        root: flags.root,
        restart: flags.restart === true,
      });
    });
}

/** Declares `accel agent cleanup`. */
export function cleanupCommand(context: CommandContext): Command {
  const command = new Command('cleanup')
    .summary('put the configurations of the runtimes back')
    .description(
      'Restores every file that setup changed, byte for byte. From a file that was changed since, it takes out only what setup ' +
        "added, and says so. Takes the agent's entries out of overlaybd's credentials. Without the journal in " +
        '/var/lib/accel/setup it takes out what carries the marks of setup, and names what it cannot be sure of. Needs no ' +
        'configuration.',
    )
    .option('--root <folder>', 'root folder of the node', '/')
    .option('--restart', 'restart or reload the daemons that need it')
    .option(
      '--force',
      'go on where the journal is damaged: restore what it still says, and keep the rest of it beside',
    );
  return checkServer(command, context)
    .addHelpText(
      'after',
      `
Examples:
  $ accel agent cleanup
  $ accel agent cleanup --root /host --restart
  $ accel agent cleanup --force
`,
    )
    .action((flags: NodeFlags) =>
      change(context, {
        command: 'cleanup',
        root: flags.root,
        restart: flags.restart === true,
        force: flags.force === true,
      }),
    );
}

interface DoctorFlags {
  readonly config?: string;
  readonly root: string;
  readonly canary?: string;
  readonly json?: boolean;
}

/** Declares `accel agent doctor`. */
export function doctorCommand(context: CommandContext): Command {
  const command = new Command('doctor')
    .summary('say what is wrong on this node, and how to mend it')
    .description(
      'Checks versions, the files of runtimes, ports, peers in both directions, clocks, certificates, disk, registries, ' +
        "credentials and overlaybd, and pulls an image through the node's runtimes to see in the agent's counters that it is " +
        'asked. Exits with 1 when a check fails.',
    )
    .option('-c, --config <file>', 'configuration, YAML (docs/configuration.md); required')
    .option('--root <folder>', 'root folder of the node', '/')
    .option('--canary <image>', 'image to pull; one of a configured registry that the node has, unless given')
    .option('--json', 'print one JSON document on standard output');
  return checkServer(command, context)
    .addHelpText(
      'after',
      `
Examples:
  $ accel agent doctor -c /etc/accel/accel.yaml
  $ accel agent doctor -c accel.yaml --canary registry.example.com/team/app:1.2 --json
`,
    )
    .action((flags: DoctorFlags) => examine(context, flags));
}

async function examine(context: CommandContext, { config, root, canary, json = false }: DoctorFlags): Promise<void> {
  context.setReporting({ json, verbose: false });
  if (config === undefined) throw new AccelError('usage', 'accel agent doctor needs a configuration file: -c FILE');
  const request = { config, root, ...(canary === undefined ? {} : { canary }) };
  const diagnosis = await serverOf(context).examineNode('accel agent doctor', request);
  context.stdout.write(json ? diagnosisDocument(diagnosis) : renderDiagnosis(diagnosis));
  if (diagnosis.ok) return;
  // Standard output has its one document already.
  context.setReporting({ json: false, verbose: false });
  const count = diagnosis.checks.filter(({ status }) => status === 'failed').length;
  throw new AccelError('io-error', 'the node is not in order', { found: `${count} of the checks failed` });
}

/** The server package, where commands run and are not only described. */
export function serverOf(context: CommandContext): ServerAccess {
  if (context.server === undefined) throw new AccelError('internal', 'no access to the server package');
  return context.server;
}

async function change(context: CommandContext, request: NodeCommand): Promise<void> {
  const report = await serverOf(context).changeNode(`accel agent ${request.command}`, request);
  context.stdout.write(renderNodeReport(report));
  if (report.problems.length === 0) return;
  const done = request.command === 'setup' ? 'set up' : 'cleaned up';
  throw new AccelError('io-error', `the node is not ${done} in full`, {
    where: { root: request.root },
    found:
      report.problems.length === 1 ? 'one problem, listed above' : `${report.problems.length} problems, listed above`,
  });
}
