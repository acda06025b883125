/** `accel prefetch record`: a list of the files that a container reads first, made without running it. */
import { basename } from 'node:path';
import { Command, Option } from 'commander';
import { AccelError } from '../../base/error.ts';
import { writeBytes } from '../byte-output.ts';
import type { CommandContext } from '../context.ts';
import { formatBytes, formatCount } from '../format.ts';
import { collectPaths } from '../parse-values.ts';
import { readBytes, refuseTwoInputs } from '../prefetch-flags.ts';
import { addReadingFlags, type ReadingFlags, withFiles } from '../reading.ts';
import { printable } from '../text.ts';

interface RecordFlags extends ReadingFlags {
  readonly from: readonly string[];
  readonly config: boolean;
  readonly output?: string;
}

const RECORD_EXAMPLES = `
Examples:
  List what the image's own command needs to start:
    $ accel prefetch record registry.example.com/team/app:1.2_accelerated > startup.txt
  The same, and what strace saw:
    $ strace -f -e trace=open,openat,execve -o seen.txt app
    $ accel prefetch record --from seen.txt registry.example.com/team/app:1.2_accelerated > startup.txt
`;

/** Declares the command. */
export function prefetchRecordCommand(context: CommandContext): Command {
  const command = new Command('record')
    .summary('make a list for an image, without running it')
    .description(
      'Writes a list of the files that a container of this image reads first: the program of its config with its ELF ' +
        'interpreter and libraries, scripts and their interpreters, the start-up modules of Python; and what other tools ' +
        'saw. The list has each file once, by its real path.',
    )
    .argument('<ref>', 'accelerated image, HOST/NAME:TAG or oci:DIR:TAG')
    .addOption(
      new Option(
        '--from <file>',
        'output of strace or fatrace, paths, or a trace of this image; - for standard input (repeatable)',
      )
        .argParser(collectPaths)
        .default([], 'none'),
    )
    .option('--no-config', "leave the image's own command out")
    .option('-o, --output <file>', 'write the list there instead of on standard output');
  addReadingFlags(command);
  return command
    .addHelpText('after', RECORD_EXAMPLES)
    .action((reference: string, flags: RecordFlags) => runRecord(reference, flags, context));
}

async function runRecord(reference: string, flags: RecordFlags, context: CommandContext): Promise<void> {
  if (flags.from.length === 0 && !flags.config)
    throw new AccelError('usage', 'there is nothing to make a list from', { hint: 'Name a file with --from.' });
  const from: { readonly name: string; readonly bytes: Uint8Array }[] = [];
  for (const file of flags.from) {
    if (file === '-') refuseTwoInputs(flags, '--from -');
    from.push({ name: file === '-' ? 'standard input' : basename(file), bytes: await readBytes(file, context.stdin) });
  }
  await withFiles(reference, flags, context, async (image) => {
    const { encodeRecorded, recordPrefetch, saveRecorded } = await import('../../prefetch/startup/record-startup.ts');
    const recorded = await recordPrefetch(image, { useConfig: flags.config, from });
    for (const note of recorded.notes) context.stderr.write(`note: ${printable(note, 'bytes')}\n`);
    if (flags.output === undefined) await writeBytes(context.stdout, encodeRecorded(recorded));
    else await saveRecorded(recorded, flags.output);
    const { files, bytes } = recorded;
    if (flags.quiet !== true) context.stderr.write(`${formatCount(files, 'file')}, ${formatBytes(bytes)}\n`);
  });
}
