/** The flags that say what a node is to prefetch, the same for `convert` and for `prefetch`. */
import { type Command, Option } from 'commander';
import { AccelError } from '../base/error.ts';
import type { PrefetchRequest } from '../converter/options.ts';
import { collectPaths } from './parse-values.ts';
import type { RegistryFlags } from './registry-flags.ts';

/** The parsed flags. */
export interface PrefetchFlags {
  /** False for `--no-prefetch`. */
  readonly prefetch?: string | false;
  readonly prefetchPath?: readonly string[];
  readonly prefetchFormat?: 'list' | 'trace';
  readonly prefetchStrict?: boolean;
}

/** Bytes of a list that are read. */
const MAX_LIST_BYTES = 64 << 20;

/** Declares the flags of `convert`. */
export function addPrefetchFlags(command: Command): Command {
  return command
    .option(
      '--prefetch <file>',
      'list of files that a node fetches first, one absolute path a line; - for standard input',
    )
    .option(
      '--no-prefetch',
      'drop the prefetch list of the image that is replaced; it is kept unless another one is given',
    )
    .addOption(new Option('--prefetch-path <path>', 'a line of the prefetch list (repeatable)').argParser(collectPaths))
    .addOption(prefetchFormat('--prefetch-format <form>'))
    .option('--prefetch-strict', 'fail when the prefetch list names what is not in the image');
}

/** The flag that chooses the form of what a node reads. */
export function prefetchFormat(flags: string): Option {
  return new Option(flags, 'what a node gets; the form that brings more unless given').choices(['list', 'trace']);
}

/** The list that the flags give: the lines of the file, then the single paths. Undefined without either. */
export async function prefetchRequest(
  { prefetch, prefetchPath = [], prefetchFormat: format, prefetchStrict }: PrefetchFlags,
  stdin: AsyncIterable<Uint8Array | string>,
): Promise<PrefetchRequest | undefined> {
  if (prefetch === false && prefetchPath.length > 0) {
    throw new AccelError('usage', '--no-prefetch does not go with --prefetch-path', { hint: 'Leave one of them out.' });
  }
  if ((prefetch === undefined || prefetch === false) && prefetchPath.length === 0) {
    if (format === undefined && prefetchStrict !== true) return undefined;
    throw new AccelError('usage', 'there is no prefetch list', { hint: 'Give one with --prefetch FILE.' });
  }
  const { splitLines } = await import('../prefetch/lines.ts');
  const lines = prefetch === undefined || prefetch === false ? [] : splitLines(await readBytes(prefetch, stdin));
  return {
    lines: [...lines, ...prefetchPath],
    ...(format === undefined ? {} : { format }),
    ...(prefetchStrict === undefined ? {} : { strict: prefetchStrict }),
  };
}

/** The bytes of a file, or of standard input for `-`. Throws `usage` past `limit` bytes, 64 MiB unless given. */
export async function readBytes(
  file: string,
  stdin: AsyncIterable<Uint8Array | string>,
  limit = MAX_LIST_BYTES,
): Promise<Uint8Array> {
  if (file !== '-') {
    const { readSmallFile } = await import('../disk/small-file.ts');
    return readSmallFile(file, limit);
  }
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of stdin) {
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
    size += bytes.length;
    if (size > limit)
      throw new AccelError('usage', 'standard input is too long', {
        expected: `at most ${limit} bytes`,
      });
    chunks.push(bytes);
  }
  return Buffer.concat(chunks);
}

/** Throws `usage` when standard input is to give both `what` and the password. */
export function refuseTwoInputs({ passwordStdin }: RegistryFlags, what: string): void {
  if (passwordStdin !== true) return;
  throw new AccelError('usage', `${what} and --password-stdin both read standard input`, {
    hint: 'Give one of them as a file.',
  });
}
