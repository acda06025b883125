/** `accel verify`: is the accelerated image what its source says? */
import { Command, Option } from 'commander';
import { AccelError } from '../../base/error.ts';
import type { CommandContext } from '../context.ts';
import { collect } from '../parse-values.ts';
import { createVerifyDisplay } from '../progress/verify-progress.ts';
import { addRegistryFlags, type RegistryFlags, registryChoice } from '../registry-flags.ts';
import { renderVerify, verifyDocument } from '../render-verify.ts';
import { maxLayerSizeOption } from '../size-flag.ts';
import { hasUnicode, styleFor } from '../terminal.ts';
import { createWarn } from '../warning.ts';

/** The parsed flags of `accel verify`. */
export interface VerifyFlags extends RegistryFlags {
  readonly source?: string;
  readonly platform: readonly string[];
  readonly quick?: boolean;
  readonly maxLayerSize: number;
  readonly json?: boolean;
  readonly verbose?: boolean;
}

const EXAMPLES = `
Examples:
  $ accel verify registry.example.com/team/app:1.2_accelerated
  $ accel verify oci:./layout:latest_accelerated --quick
  Against a copy of the base, when the base itself was deleted:
    $ accel verify registry.example.com/team/app:1.2_accelerated --source backup.example.com/app:1.2
`;

/** Declares the command. */
export function verifyCommand(context: CommandContext): Command {
  const command = new Command('verify')
    .summary('compare an accelerated image with its source')
    .description(
      'Reads an accelerated image back through its own index, the way a node does, and compares every path, byte and ' +
        "attribute with what the source image's layers say. Exits with 5 and a list when anything differs.",
    )
    .argument('<ref>', 'accelerated image, HOST/NAME:TAG or oci:DIR:TAG')
    .option('--source <ref>', 'the image it was made from; what it records, in its own repository, unless given')
    .addOption(
      new Option('--platform <os/arch>', 'platform to verify (repeatable)')
        .argParser(collect)
        .default([], 'every platform of the image'),
    )
    .option('--quick', 'compare everything but content')
    .addOption(maxLayerSizeOption())
    .option('--json', 'print one JSON document on standard output, with all differences');
  return addRegistryFlags(command)
    .option('--verbose', 'errors come with their stack')
    .addHelpText('after', EXAMPLES)
    .action((reference: string, flags: VerifyFlags) => runVerify(reference, flags, context));
}

async function runVerify(reference: string, flags: VerifyFlags, context: CommandContext): Promise<void> {
  const { stdout, stderr, env, signal } = context;
  const verbose = flags.verbose === true;
  context.setReporting({ json: flags.json === true, verbose });
  const registry = {
    ...(await registryChoice(flags, context.stdin, context.stderr)),
    env,
    warn: await createWarn(stderr, env),
  };
  const { verify } = await import('../../verify/verify-by-name.ts');
  const display = createVerifyDisplay(stderr, env);
  try {
    const result = await verify(reference, {
      source: flags.source,
      platforms: flags.platform,
      quick: flags.quick === true,
      maxLayerSize: flags.maxLayerSize,
      onProgress: display.show,
      registry,
      signal,
    });
    display.stop();
    if (flags.json === true) stdout.write(verifyDocument(result));
    else stdout.write(renderVerify(result, { style: await styleFor(stdout, env), unicode: hasUnicode(env) }));
    if (result.identical) return;
    // Standard output has its one document already.
    context.setReporting({ json: false, verbose });
    throw new AccelError('verification-failed', 'the accelerated image is not what its source says', {
      where: { image: result.reference },
      expected: 'no difference',
      found: result.differenceCount,
      hint: 'Do not run it; convert the source again with --force and verify the result.',
    });
  } finally {
    display.stop();
  }
}
