/** `accel event`: what a push to a registry calls for, decided and not done. */
import { Command } from 'commander';
import { AccelError } from '../../base/error.ts';
import type { CommandContext } from '../context.ts';
import { describeDecision, readPayload } from '../event-report.ts';
import { JSON_FORMAT_VERSION, jsonText } from '../progress/json.ts';
import { addRegistryFlags, type RegistryFlags, registryChoice } from '../registry-flags.ts';
import { printable } from '../text.ts';
import { createWarn } from '../warning.ts';

/** The parsed flags of `accel event`. */
export interface EventFlags extends RegistryFlags {
  readonly payload?: string;
  readonly name?: string;
  readonly repository?: string;
  readonly expression?: string;
  readonly json?: boolean;
  readonly verbose?: boolean;
}

const EXAMPLES = `
Examples:
  $ accel event --payload event.json
  Only for one repository, and as a document for a script:
    $ accel event --payload event.json -r ghcr.io/team/app --json
`;

/** Declares the command. */
export function eventCommand(context: CommandContext): Command {
  const command = new Command('event')
    .summary('decide what a push to a registry calls for')
    .description(
      'Reads the payload of an event (registry_package or repository_dispatch, as GitHub sends them) and says what it calls ' +
        'for: convert the image, report a finished conversion, or nothing, and why. Reads the registry and ' +
        'changes nothing. The GitHub Action decides by the same rules.',
    )
    .option('--payload <file>', 'payload of the event, JSON')
    .option('--name <event>', 'name of the event; found from the payload unless given')
    .option(
      '-r, --repository <repo>',
      'leave events of other repositories alone, and take this one where none is named',
    )
    .option('--expression <regexp>', 'what a tag of a finished conversion matches; _accelerated$ unless given')
    .option('--json', 'print one JSON document on standard output');
  return addRegistryFlags(command)
    .option('--verbose', 'errors come with their stack')
    .addHelpText('after', EXAMPLES)
    .action((flags: EventFlags) => runEvent(flags, context));
}

async function runEvent(flags: EventFlags, context: CommandContext): Promise<void> {
  const { stdout, stderr, env, signal } = context;
  context.setReporting({ json: flags.json === true, verbose: flags.verbose === true });
  if (flags.payload === undefined)
    throw new AccelError('usage', 'no event was given', { hint: 'Name the file of its payload with --payload FILE.' });
  const payload = await readPayload(flags.payload);
  const warn = await createWarn(stderr, env);
  const registry = { ...(await registryChoice(flags, context.stdin, context.stderr)), env, warn };
  const [{ decideEvent }, { guessEventName }] = await Promise.all([
    import('../../triggers/decide.ts'),
    import('../../triggers/payload.ts'),
  ]);
  const { repository, expression } = flags;
  const name = flags.name ?? guessEventName(payload);
  if (name === undefined) {
    throw new AccelError('usage', 'the payload does not say which event it is', {
      expected: 'registry_package, package or client_payload in it',
      hint: 'Name the event with --name.',
    });
  }
  const decision = await decideEvent({ name, payload, repository, expression }, { registry, signal });
  stdout.write(
    flags.json === true
      ? jsonText({ formatVersion: JSON_FORMAT_VERSION, ...decision })
      : `${printable(describeDecision(decision))}\n`,
  );
}
