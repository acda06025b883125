/** `accel ls`: what a directory of an accelerated image holds. */
import { Command, Option } from 'commander';
import type { FileStat, ImageFiles } from '../../reader/files.ts';
import { writeBytes } from '../byte-output.ts';
import type { CommandContext } from '../context.ts';
import { alignRows, longColumns, nameBytes } from '../listing.ts';
import { listingEntry, listingHead } from '../listing-json.ts';
import { addReadingFlags, imagePath, type ReadingFlags, splitPath, withFiles } from '../reading.ts';

/** The parsed flags of `accel ls`. */
export interface LsFlags extends ReadingFlags {
  readonly long?: boolean;
  readonly recursive?: boolean;
  readonly null?: boolean;
}

const EXAMPLES = `
Examples:
  $ accel ls registry.example.com/team/app:1.2_accelerated
  $ accel ls -l oci:./layout:latest_accelerated /etc
  $ accel ls -R registry.example.com/team/app:1.2_accelerated /usr/lib
`;

/** Lines that are aligned with each other; a listing of a whole image is written as it is read. */
const ROWS_AT_A_TIME = 1000;

/** A name to print, with what `-l` prints before and after it. */
interface Line {
  readonly name: string;
  readonly stat?: FileStat;
}

/** Declares the command. */
export function lsCommand(context: CommandContext): Command {
  const command = new Command('ls')
    .summary('list files of an accelerated image')
    .description(
      'Lists a directory of an accelerated image, reading only what that takes, and says on standard error how much it ' +
        'was. Control characters in names, and bytes that are not UTF-8, are escaped as \\xNN, so that a line is a name.',
    )
    .argument('<ref>', 'accelerated image, HOST/NAME:TAG or oci:DIR:TAG; :PATH may follow')
    .argument('[path]', 'path in the image, / unless given')
    .option('-l, --long', 'mode, links, owner, group, size and time as well')
    .option('-R, --recursive', 'everything below, one path a line')
    .option('-0, --null', 'names byte for byte, each followed by a NUL instead of a line break, for programs')
    .addOption(
      new Option('--json', 'print one JSON document on standard output, with all that --long shows').conflicts('null'),
    );
  addReadingFlags(command);
  return command
    .addHelpText('after', EXAMPLES)
    .action((reference: string, path: string | undefined, flags: LsFlags) =>
      runLs(splitPath(reference, path), flags, context),
    );
}

async function runLs(
  { reference, path }: { readonly reference: string; readonly path: string | undefined },
  flags: LsFlags,
  context: CommandContext,
): Promise<void> {
  const start = imagePath(path ?? '/');
  if (flags.json === true) return writeListing(reference, start, flags, context);
  await withFiles(reference, flags, context, async ({ files }) => {
    let batch: Line[] = [];
    const flush = async (): Promise<boolean> => {
      const lines = batch;
      batch = [];
      return writeLines(lines, flags, context);
    };
    for await (const line of linesOf(files, start, flags)) {
      batch.push(line);
      if (batch.length >= ROWS_AT_A_TIME && !(await flush())) return;
    }
    await flush();
  });
}

/** The listing as one JSON document, written as it is read: an image may have millions of paths. */
async function writeListing(reference: string, start: string, flags: LsFlags, context: CommandContext): Promise<void> {
  await withFiles(reference, flags, context, async ({ files, platform }) => {
    const stats = statsOf(files, start, flags);
    let next = await stats.next();
    // From here on standard output has its document; an error is reported on the other one.
    context.setReporting({ json: false, verbose: flags.verbose === true });
    const write = (text: string): Promise<boolean> => writeBytes(context.stdout, Buffer.from(text));
    await write(listingHead(reference, platform, start));
    let batch: string[] = [];
    for (let separator = '\n'; next.done !== true; next = await stats.next()) {
      batch.push(`${separator}${listingEntry(next.value)}`);
      separator = ',\n';
      if (batch.length < ROWS_AT_A_TIME) continue;
      if (!(await write(batch.join('')))) return;
      batch = [];
    }
    await write(`${batch.join('')}\n]}\n`);
  });
}

async function* statsOf(files: ImageFiles, path: string, flags: LsFlags): AsyncGenerator<FileStat> {
  const start = await files.stat(path, { followLast: flags.long !== true });
  if (flags.recursive === true) yield* files.walk(start);
  else if (start.type === 'directory') yield* await files.list(start);
  else yield start;
}

async function* linesOf(files: ImageFiles, path: string, flags: LsFlags): AsyncGenerator<Line> {
  // As ls does: a symlink itself is shown with -l, what it leads to without.
  const start = await files.stat(path, { followLast: flags.long !== true });
  if (flags.recursive === true) {
    for await (const stat of files.walk(start)) yield { name: stat.path, stat };
  } else if (start.type !== 'directory') yield { name: path, stat: start };
  else if (flags.long === true)
    for (const stat of await files.list(start)) yield { name: stat.path.slice(stat.path.lastIndexOf('/') + 1), stat };
  // Names alone cost no inode.
  else for (const { name } of await files.names(start)) yield { name };
}

/** False when nobody reads any more. */
async function writeLines(lines: readonly Line[], flags: LsFlags, { stdout }: CommandContext): Promise<boolean> {
  const exact = flags.null === true;
  const columns = flags.long === true ? alignRows(lines.map(({ stat }) => longColumns(stat!))) : [];
  const parts: Uint8Array[] = [];
  lines.forEach(({ name, stat }, i) => {
    if (flags.long === true) parts.push(Buffer.from(`${columns[i]} `));
    parts.push(nameBytes(name, exact));
    if (flags.long === true && stat?.target !== undefined)
      parts.push(Buffer.from(' -> '), nameBytes(stat.target, exact));
    parts.push(Buffer.from(exact ? '\0' : '\n'));
  });
  return writeBytes(stdout, Buffer.concat(parts));
}
