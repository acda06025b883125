/** `accel serve`: the conversion service and the roles of a cluster, from the package accel-image-server. */
import { Command, Option } from 'commander';
import { AccelError } from '../../base/error.ts';
import type { CommandContext } from '../context.ts';
import { JSON_FORMAT_VERSION, jsonText } from '../progress/json.ts';
import { addServerFlags, checkServer, runServer, type ServerFlags } from '../server-flags.ts';
import type { ImageCheck } from '../server-package.ts';
import { printable } from '../text.ts';
import { backfillCommand, servePruneCommand } from './serve-scans.ts';

interface ServeFlags extends ServerFlags {
  readonly role: string;
}

const EXAMPLES = `
Examples:
  $ accel serve -c accel.yaml
  $ accel serve -c accel.yaml --check
  The rule that an image meets:
    $ accel serve check registry.example.com/team/app:1.2 -c accel.yaml
`;

/** Declares the command. */
export function serveCommand(context: CommandContext): Command {
  const command = new Command('serve')
    .summary('convert images as they are pushed')
    .description(
      'Converts images as registries report them, by the rules of the configuration, with an API and a console; in a ' +
        'cluster also the webhook and the controller, by --role. Runs until SIGTERM, which lets work in progress finish; ' +
        'SIGHUP reads the configuration again. Needs Node 24 and the package accel-image-server.',
    );
  return addServerFlags(command, context)
    .addOption(
      new Option('--role <role>', 'part of the service that this process is')
        .choices(['all', 'api', 'worker', 'admission', 'controller', 'uninstall'])
        .default('all'),
    )
    .addCommand(checkCommand(context))
    .addCommand(backfillCommand(context))
    .addCommand(servePruneCommand(context))
    .addHelpText('after', EXAMPLES)
    .action((flags: ServeFlags) =>
      runServer(context, { command: 'accel serve', role: flags.role === 'all' ? 'service' : flags.role, flags }),
    );
}

const CHECK_EXAMPLES = `
Examples:
  $ accel serve check registry.example.com/team/app:1.2 -c accel.yaml
  $ accel serve check registry.example.com/team/app -c accel.yaml --json
`;

/** The flags of `accel serve check`; those of `accel serve` are read before and after the word `check`. */
interface CheckFlags extends ServerFlags {
  readonly json?: boolean;
}

function checkCommand(context: CommandContext): Command {
  const command = new Command('check')
    .summary('find the rule that an image meets')
    .description(
      'Reports which rule of the configuration covers an image and why the rules before it do not. Asks no registry.',
    )
    .argument('<image>', 'HOST/NAME:TAG; the tag is latest unless given')
    .option('-c, --config <file>', 'configuration, YAML (docs/configuration.md); required')
    .option('--json', 'print one JSON document on standard output');
  return checkServer(command, context)
    .addHelpText('after', CHECK_EXAMPLES)
    .action(async (image: string, _: CheckFlags, self: Command) => {
      const { config, json = false } = self.optsWithGlobals<CheckFlags>();
      context.setReporting({ json, verbose: false });
      if (context.server === undefined) throw new AccelError('internal', 'no access to the server package');
      if (config === undefined) throw new AccelError('usage', 'accel serve check needs a configuration file: -c FILE');
      const check = await context.server.checkImage('accel serve check', { config, image });
      context.stdout.write(json ? jsonText({ formatVersion: JSON_FORMAT_VERSION, ...check }) : checkText(check));
    });
}

/** Words for the outcomes of rules. */
const OUTCOMES: Readonly<Record<string, string>> = {
  covers: 'covers it',
  'other-repository': 'is for other repositories',
  'excluded-repository': 'leaves its repository out',
  'other-tag': 'is for other tags',
  'excluded-tag': 'leaves its tag out',
};

function checkText({ image, rule, verdicts }: ImageCheck): string {
  const lines = verdicts.map(({ rule: number, outcome, pattern }) => {
    const by = pattern === undefined ? '' : ` (${pattern})`;
    return `  rule ${number} ${OUTCOMES[outcome] ?? outcome}${by}`;
  });
  const options = rule === undefined ? '' : `: ${optionsText(rule.options)}`;
  const head =
    rule === undefined ? `${image} is covered by no rule` : `${image} is converted by rule ${rule.number}${options}`;
  return `${[head, ...lines].map((line) => printable(line)).join('\n')}\n`;
}

/** The options of a rule, as `mode full, verify off`. */
function optionsText(options: object): string {
  return Object.entries<unknown>({ ...options })
    .filter(([, value]) => !(Array.isArray(value) && value.length === 0))
    .map(([name, value]) => `${name} ${Array.isArray(value) ? value.join(' ') : String(value)}`)
    .join(', ');
}
