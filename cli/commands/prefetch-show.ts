/** `accel prefetch show`: what an image carries to prefetch. */
import { Command } from 'commander';
import { AccelError } from '../../base/error.ts';
import { writeBytes } from '../byte-output.ts';
import type { CommandContext } from '../context.ts';
import { carriedDocument, renderCarried } from '../prefetch-report.ts';
import { addReadingFlags, type ReadingFlags, withFiles } from '../reading.ts';
import { styleFor } from '../terminal.ts';

interface ShowFlags extends ReadingFlags {
  readonly raw?: boolean;
}

const SHOW_EXAMPLES = `
Examples:
  $ accel prefetch show registry.example.com/team/app:1.2_accelerated
  $ accel prefetch show --raw registry.example.com/team/app:1.2_accelerated > trace
`;

/** Declares the command. */
export function prefetchShowCommand(context: CommandContext): Command {
  const command = new Command('show')
    .summary('show what an image prefetches, and its cost')
    .description(
      'Shows what a node would prefetch of this image: a list with the lines that it skips, or a trace with its reads, ' +
        'and how many bytes that takes. Reads indexes and metadata alone.',
    )
    .argument('<ref>', 'accelerated image, HOST/NAME:TAG or oci:DIR:TAG')
    .option('--json', 'print one JSON document on standard output')
    .option('--raw', 'write the list or trace itself to standard output');
  addReadingFlags(command);
  return command
    .addHelpText('after', SHOW_EXAMPLES)
    .action((reference: string, flags: ShowFlags) => runShow(reference, flags, context));
}

async function runShow(reference: string, flags: ShowFlags, context: CommandContext): Promise<void> {
  const { stdout, env, signal } = context;
  await withFiles(reference, flags, context, async (image) => {
    const [{ readCarriedPrefetch }, { describePrefetch }] = await Promise.all([
      import('../../prefetch/carried.ts'),
      import('../../prefetch/describe.ts'),
    ]);
    const carried = await readCarriedPrefetch(image.target, image.manifest.layers, { signal });
    if (flags.raw === true) {
      if (carried === undefined)
        throw new AccelError('not-found', 'the image carries nothing to prefetch', { where: { image: reference } });
      await writeBytes(stdout, carried.trace);
      return;
    }
    const facts = carried && (await describePrefetch(image, carried.content, signal));
    if (flags.json === true) stdout.write(carriedDocument(reference, image.platform, carried, facts));
    else stdout.write(renderCarried(image.platform, carried, facts, await styleFor(stdout, env)));
  });
}
