/** Shared by the commands that read an accelerated image: flags, the opened image, the line about its cost. */
import type { Command } from 'commander';
import { AccelError } from '../base/error.ts';
import type { OpenedImage } from '../reader/open-by-name.ts';
import type { CommandContext } from './context.ts';
import { formatBytes, formatCount, formatShare } from './format.ts';
import { addRegistryFlags, type RegistryFlags, registryChoice } from './registry-flags.ts';
import { createWarn } from './warning.ts';

/** The parsed flags of a command that reads an image. */
export interface ReadingFlags extends RegistryFlags {
  readonly platform?: string;
  readonly quiet?: boolean;
  /** Of the commands that have it. */
  readonly json?: boolean;
  readonly verbose?: boolean;
}

/** Declares the flags that say which image and how to reach it. */
export function addReadingFlags(command: Command): Command {
  command.option('--platform <os/arch>', "image of an index; the only one, or this machine's, unless given");
  return addRegistryFlags(command)
    .option('-q, --quiet', 'do not say what was fetched')
    .option('--verbose', 'errors come with their stack');
}

/** Opens the image, runs `body` on its files, and says on standard error what was fetched. */
export async function withFiles(
  reference: string,
  flags: ReadingFlags,
  context: CommandContext,
  body: (image: OpenedImage) => Promise<void>,
): Promise<void> {
  const { signal, stderr, env } = context;
  context.setReporting({ json: flags.json === true, verbose: flags.verbose === true });
  const registry = await registryChoice(flags, context.stdin, context.stderr);
  const [{ openImage }, { imageSize }] = await Promise.all([
    import('../reader/open-by-name.ts'),
    import('../reader/footprint.ts'),
  ]);
  const warn = await createWarn(stderr, env);
  const image = await openImage(reference, {
    registry: { ...registry, env, warn },
    platform: flags.platform,
    signal,
  });
  try {
    await body(image);
    if (flags.quiet !== true) stderr.write(renderCost(image.statistics(), imageSize(image)));
  } finally {
    await image.close();
  }
}

/** Smaller shares are shown as less than this. */
const LEAST_SHARE = 0.001;

function renderCost({ requests, bytes }: { requests: number; bytes: number }, whole: number): string {
  // A share of 0.0 % would look like nothing.
  const percent = bytes / whole < LEAST_SHARE ? `less than ${formatShare(LEAST_SHARE)}` : formatShare(bytes / whole);
  const share = whole === 0 ? '' : `, ${percent} of the image (${formatBytes(whole)})`;
  return `fetched ${formatBytes(bytes)} in ${formatCount(requests, 'request')}${share}\n`;
}

/**
 * Takes the reference and the path of the image apart: two arguments, or one `REF:PATH`, where the last `:` that a slash
 * follows divides. `path` is undefined when only a reference was given.
 */
export function splitPath(
  reference: string,
  path: string | undefined,
): { reference: string; path: string | undefined } {
  if (path !== undefined) return { reference, path };
  const colon = reference.lastIndexOf(':/');
  // "oci:/dir" is a layout's directory, and "https://…" a mistake that the reference's parser explains.
  if (colon < 0 || !/[:/]/.test(reference.slice(0, colon)) || reference.startsWith('//', colon + 1))
    return { reference, path: undefined };
  return { reference: reference.slice(0, colon), path: reference.slice(colon + 1) };
}

/** A path as the user typed it, as the image has it: absolute, one character for each byte. */
export function imagePath(text: string): string {
  if (text === '')
    throw new AccelError('usage', 'the path is empty', { expected: 'a path of the image, such as /etc' });
  return Buffer.from(text.startsWith('/') ? text : `/${text}`).toString('latin1');
}
