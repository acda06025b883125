/** `accel cp`: files out of an accelerated image. */
import { Command } from 'commander';
import { AccelError } from '../../base/error.ts';
import type { CopyReport } from '../../reader/copy-out.ts';
import type { CommandContext } from '../context.ts';
import { formatBytes, formatCount } from '../format.ts';
import { addReadingFlags, imagePath, type ReadingFlags, splitPath, withFiles } from '../reading.ts';
import { printable } from '../text.ts';

/** The parsed flags of `accel cp`. */
export interface CpFlags extends ReadingFlags {
  readonly devices?: boolean;
  readonly keepSetuid?: boolean;
}

const EXAMPLES = `
Examples:
  $ accel cp registry.example.com/team/app:1.2_accelerated:/etc/os-release .
  $ accel cp oci:./layout:latest_accelerated /usr/share/doc ./doc
`;

/** Declares the command. */
export function cpCommand(context: CommandContext): Command {
  const command = new Command('cp')
    .summary('copy files out of an accelerated image')
    .description(
      'Copies a file, or a directory with all below it, to this machine. A directory that exists takes the copy in. ' +
        'Nothing is written outside of the destination and nothing through symlinks; devices are left out, and programs ' +
        'lose their setuid bits, unless asked for. Owners are yours.',
    )
    .argument('<ref>', 'accelerated image, HOST/NAME:TAG or oci:DIR:TAG; :PATH may follow, or be the next argument')
    .argument('<path>', 'path in the image')
    .argument('[local]', 'where to copy to')
    .option('--devices', 'make device nodes and named pipes too (needs root)')
    .option('--keep-setuid', 'keep setuid and setgid bits of programs, and their owners (needs root)');
  addReadingFlags(command);
  return command
    .addHelpText('after', EXAMPLES)
    .action((first: string, second: string, third: string | undefined, flags: CpFlags) =>
      runCp(operands(first, second, third), flags, context),
    );
}

interface Operands {
  readonly reference: string;
  readonly path: string;
  readonly local: string;
}

/** `REF PATH LOCAL` or `REF:PATH LOCAL`. */
function operands(first: string, second: string, third: string | undefined): Operands {
  if (third !== undefined) return { reference: first, path: second, local: third };
  const { reference, path } = splitPath(first, undefined);
  if (path !== undefined) return { reference, path, local: second };
  throw new AccelError('usage', 'it is not clear what to copy where', {
    expected: 'accel cp REF:PATH LOCAL, or accel cp REF PATH LOCAL',
    found: `${first} ${second}`,
  });
}

async function runCp({ reference, path, local }: Operands, flags: CpFlags, context: CommandContext): Promise<void> {
  const wanted = imagePath(path);
  if (local === '') throw new AccelError('usage', 'the destination is empty', { expected: 'a path on this machine' });
  await withFiles(reference, flags, context, async ({ files }) => {
    const [{ copyOut }, { destinationFor }] = await Promise.all([
      import('../../reader/copy-out.ts'),
      import('../../reader/copy-destination.ts'),
    ]);
    const start = await files.stat(wanted);
    const report = await copyOut(files, start, await destinationFor(wanted, start, local), {
      devices: flags.devices === true,
      keepSetuid: flags.keepSetuid === true,
      signal: context.signal,
    });
    if (flags.quiet !== true) context.stderr.write(renderReport(report));
  });
}

function renderReport(report: CopyReport): string {
  const counts = [
    formatCount(report.files, 'file'),
    ...(report.directories > 0
      ? [`${report.directories} ${report.directories === 1 ? 'directory' : 'directories'}`]
      : []),
    ...(report.symlinks > 0 ? [formatCount(report.symlinks, 'symlink')] : []),
    ...(report.links > 0 ? [formatCount(report.links, 'hard link')] : []),
    ...(report.nodes > 0 ? [formatCount(report.nodes, 'node')] : []),
  ];
  const lines = [`copied ${counts.join(', ')} (${formatBytes(report.bytes)})`];
  lines.push(...noted('left out', report.skipped, 'devices and pipes are copied with --devices'));
  lines.push(...noted('without setuid', report.stripped, 'the bits stay with --keep-setuid'));
  return `${lines.join('\n')}\n`;
}

/** Paths that are named one by one; the others are counted. */
const NAMED_PATHS = 5;

function noted(what: string, paths: readonly string[], hint: string): string[] {
  if (paths.length === 0) return [];
  const named = paths.slice(0, NAMED_PATHS).map((path) => printable(path, 'bytes'));
  const more = paths.length > NAMED_PATHS ? ` and ${paths.length - NAMED_PATHS} more` : '';
  return [`${what}: ${named.join(', ')}${more}; ${hint}`];
}
