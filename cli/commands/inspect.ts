/** `accel inspect`: what is this image? */
import { Command } from 'commander';
import { AccelError } from '../../base/error.ts';
import type { CommandContext } from '../context.ts';
import { inspectDocument, renderInspect } from '../inspect-report.ts';
import { addRegistryFlags, type RegistryFlags, registryChoice } from '../registry-flags.ts';
import { styleFor } from '../terminal.ts';
import { createWarn } from '../warning.ts';

/** The parsed flags of `accel inspect`. */
export interface InspectFlags extends RegistryFlags {
  readonly check?: boolean;
  readonly referrers?: boolean;
  readonly json?: boolean;
  readonly verbose?: boolean;
}

const EXAMPLES = `
Examples:
  $ accel inspect registry.example.com/team/app:1.2_accelerated
  Who signed it and its source, and what describes them:
    $ accel inspect registry.example.com/team/app:1.2_accelerated --referrers
  See what conversion would make of an ordinary image:
    $ accel inspect registry.example.com/team/app:1.2
`;

/** Declares the command. */
export function inspectCommand(context: CommandContext): Command {
  const command = new Command('inspect')
    .summary('describe an image')
    .description(
      'Shows mode, platforms, layers and sizes of an accelerated image, its source and whether that still exists. For an ' +
        'ordinary image it shows what each layer allows: full conversion, index-only, or why not.',
    )
    .argument('<ref>', 'image, HOST/NAME:TAG or oci:DIR:TAG')
    .option(
      '--check',
      'look for all that the image needs; exit with 5 when something is gone, or will be after the next garbage collection',
    )
    .option('--referrers', 'list signatures, attestations and bills of materials of the image and of its source')
    .option('--json', 'print one JSON document on standard output');
  return addRegistryFlags(command)
    .option('--verbose', 'errors come with their stack')
    .addHelpText('after', EXAMPLES)
    .action((reference: string, flags: InspectFlags) => runInspect(reference, flags, context));
}

async function runInspect(reference: string, flags: InspectFlags, context: CommandContext): Promise<void> {
  const { stdout, stderr, env, signal } = context;
  context.setReporting({ json: flags.json === true, verbose: flags.verbose === true });
  const registry = await registryChoice(flags, context.stdin, context.stderr);
  const { inspect } = await import('../../inspect/inspect-by-name.ts');
  const warn = await createWarn(stderr, env);
  const report = await inspect(reference, {
    registry: { ...registry, env, warn },
    signal,
    ...(flags.check === undefined ? {} : { check: flags.check }),
    ...(flags.referrers === undefined ? {} : { referrers: flags.referrers }),
  });
  stdout.write(flags.json === true ? inspectDocument(report) : renderInspect(report, await styleFor(stdout, env)));
  if (report.check === undefined || report.check.length === 0) return;
  // Standard output has its one document already.
  context.setReporting({ json: false, verbose: flags.verbose === true });
  const isBroken = report.check.some(({ severity }) => severity === 'broken');
  throw new AccelError('verification-failed', isBroken ? 'the image does not run' : 'the image will break', {
    where: { image: report.reference },
    expected: 'all that it needs',
    found: report.check
      .map(({ platform, what }) => (platform === undefined ? what : `${platform}: ${what}`))
      .join('\n'),
    hint: isBroken
      ? 'Convert its source again, or push what is missing.'
      : 'Keep the base under a tag, or convert in full mode: then the base is not needed.',
  });
}
