/** `accel cat`: the content of a file of an accelerated image. */
import { Command } from 'commander';
import { AccelError } from '../../base/error.ts';
import { writeBytes } from '../byte-output.ts';
import type { CommandContext } from '../context.ts';
import { addReadingFlags, imagePath, type ReadingFlags, splitPath, withFiles } from '../reading.ts';

const EXAMPLES = `
Examples:
  $ accel cat registry.example.com/team/app:1.2_accelerated /etc/os-release
  $ accel cat oci:./layout:latest_accelerated /bin/ls | sha256sum
`;

/** Declares the command. */
export function catCommand(context: CommandContext): Command {
  const command = new Command('cat')
    .summary('print a file of an accelerated image')
    .description(
      'Writes the content of a file to standard output, byte for byte, fetching only that file and what leads to it. ' +
        'Symlinks are followed inside the image.',
    )
    .argument('<ref>', 'accelerated image, HOST/NAME:TAG or oci:DIR:TAG; :PATH may follow')
    .argument('[path]', 'path in the image');
  addReadingFlags(command);
  return command
    .addHelpText('after', EXAMPLES)
    .action((reference: string, path: string | undefined, flags: ReadingFlags) =>
      runCat(splitPath(reference, path), flags, context),
    );
}

async function runCat(
  { reference, path }: { readonly reference: string; readonly path: string | undefined },
  flags: ReadingFlags,
  context: CommandContext,
): Promise<void> {
  if (path === undefined) throw new AccelError('usage', 'no path to print', { expected: 'accel cat REF PATH' });
  const wanted = imagePath(path);
  await withFiles(reference, flags, context, async ({ files }) => {
    for await (const piece of files.content(wanted)) {
      context.signal?.throwIfAborted();
      if (!(await writeBytes(context.stdout, piece))) return;
    }
  });
}
