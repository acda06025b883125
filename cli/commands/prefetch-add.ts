/** `accel prefetch add`: puts a prefetch list onto an image that is accelerated already. */
import { Command } from 'commander';
import type { CommandContext } from '../context.ts';
import { prefetchFormat, readBytes, refuseTwoInputs } from '../prefetch-flags.ts';
import { addedDocument, renderAdded } from '../prefetch-report.ts';
import { describeEvent } from '../progress/plain.ts';
import { addRegistryFlags, type RegistryFlags, registryChoice } from '../registry-flags.ts';
import { addRecordKeyFlag, type ReuseFlags, reuseRequest } from '../reuse-flags.ts';
import { styleFor } from '../terminal.ts';
import { createWarn } from '../warning.ts';

interface AddFlags extends RegistryFlags, ReuseFlags {
  readonly format?: 'list' | 'trace';
  readonly strict?: boolean;
  readonly outputTag?: string;
  readonly json?: boolean;
  readonly verbose?: boolean;
}

const ADD_EXAMPLES = `
Examples:
  $ accel prefetch add registry.example.com/team/app:1.2_accelerated startup.txt
  $ accel prefetch record oci:./layout:latest_accelerated | accel prefetch add oci:./layout:latest_accelerated -
`;

/** Declares the command. */
export function prefetchAddCommand(context: CommandContext): Command {
  const command = new Command('add')
    .summary('put a list onto an accelerated image')
    .description(
      'Puts a prefetch list onto an image that is accelerated already, every platform of it, in place of an older one. ' +
        'Nothing is converted; the tag moves to the new image in the end.',
    )
    .argument('<ref>', 'accelerated image, HOST/NAME:TAG or oci:DIR:TAG')
    .argument('<file>', 'the list, one absolute path a line; - for standard input')
    .addOption(prefetchFormat('--format <form>'))
    .option('--strict', 'fail when the list names what is not in the image')
    .option('-o, --output-tag <tag>', 'push this tag instead of the one that named the image')
    .option('--json', 'print one JSON document on standard output');
  return addRegistryFlags(addRecordKeyFlag(command))
    .option('--verbose', 'errors come with their stack')
    .addHelpText('after', ADD_EXAMPLES)
    .action((reference: string, file: string, flags: AddFlags) => runAdd(reference, file, flags, context));
}

async function runAdd(reference: string, file: string, flags: AddFlags, context: CommandContext): Promise<void> {
  const { stdout, stderr, env, signal } = context;
  context.setReporting({ json: flags.json === true, verbose: flags.verbose === true });
  if (file === '-') refuseTwoInputs(flags, 'the list');
  const { splitLines } = await import('../../prefetch/lines.ts');
  const lines = splitLines(await readBytes(file, context.stdin));
  const registry = await registryChoice(flags, context.stdin, context.stderr);
  const [{ openReference }, { addPrefetch }] = await Promise.all([
    import('../../reader/open-reference.ts'),
    import('../../converter/prefetch/add-prefetch.ts'),
  ]);
  const warn = await createWarn(stderr, env);
  const opened = await openReference(reference, { ...registry, env, warn });
  try {
    const style = await styleFor(stderr, env);
    const result = await addPrefetch(
      {
        target: opened.target,
        tagOrDigest: opened.tagOrDigest,
        prefetch: {
          lines,
          ...(flags.format === undefined ? {} : { format: flags.format }),
          ...(flags.strict === undefined ? {} : { strict: flags.strict }),
        },
        ...(flags.outputTag === undefined ? {} : { outputTag: flags.outputTag }),
        ...(await reuseRequest(flags)),
      },
      {
        signal,
        onEvent(event) {
          const line = describeEvent(event, style, false);
          if (line !== undefined) stderr.write(`${line}\n`);
        },
      },
    );
    stdout.write(flags.json === true ? addedDocument(opened.name, result) : renderAdded(opened.name, result));
  } finally {
    await opened.close();
  }
}
