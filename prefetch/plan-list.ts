/**
 * Writes a resolved list in the form that the runtime reads, and reports what that form cannot express (docs/formats.md
 * §7).
 */
import { MAX_LIST_SIZE } from '../formats/prefetch/layout.ts';
import { isReadableLine } from '../formats/prefetch/list.ts';
import { nameOfLine, someOf } from './lines.ts';
import type { PrefetchFile, PrefetchItem, ResolvedPrefetch } from './resolve-list.ts';

/** The lines to write. */
export interface PlannedList {
  /** Latin-1. */
  readonly lines: readonly string[];
  /** Bytes of file content, in whole blocks, of what is in the list. */
  readonly covered: number;
  /** Lines that the form cannot express, a message for each line of the user's list. */
  readonly warnings: readonly string[];
}

interface Block {
  readonly item: PrefetchItem;
  /** The shortest form, and the most exact one. */
  readonly short: readonly string[];
  readonly exact: readonly string[];
  readonly covered: number;
}

const RULE = 'the runtime skips names with other characters than a-z A-Z 0-9 _ - .';

/**
 * Chooses lines: files by their real paths; a directory as its files while all of it fits 64 KiB, otherwise as itself.
 * A directory with a name that the runtime does not accept stays as it is: the runtime does not skip files that it
 * finds by walking.
 */
export function planList({ items }: ResolvedPrefetch): PlannedList {
  const warnings: string[] = [];
  const blocks = items.map((item) => blockOf(item, warnings));
  const fitting = cut(blocks, warnings);
  let size = fitting.reduce((sum, { short }) => sum + sizeOf(short), 0);
  const lines: string[] = [];
  for (const { short, exact } of fitting) {
    const longer = size - sizeOf(short) + sizeOf(exact);
    if (longer <= MAX_LIST_SIZE) size = longer;
    lines.push(...(longer <= MAX_LIST_SIZE ? exact : short));
  }
  return { lines, covered: fitting.reduce((sum, { covered }) => sum + covered, 0), warnings };
}

function blockOf(item: PrefetchItem, warnings: string[]): Block {
  const { directory, files } = item;
  const readable = files.filter(({ path }) => isReadableLine(path));
  const exact = readable.map(({ path }) => path);
  const line = directory === undefined ? undefined : directory === '/' ? '/' : `${directory}/`;
  if (line !== undefined && isReadableLine(line) && files.length > 0) {
    const isExact = readable.length === files.length;
    return {
      item,
      short: exact.length === 1 && isExact ? exact : [line],
      exact: isExact ? exact : [line],
      covered: blocksOf(files),
    };
  }
  if (readable.length < files.length) {
    const skipped = files.filter(({ path }) => !isReadableLine(path)).map(({ path }) => path);
    warnings.push(`${nameOfLine(item.line)}: not prefetched, ${RULE}: ${someOf(skipped)}`);
  }
  return { item, short: exact, exact, covered: blocksOf(readable) };
}

/** Leaves out lines from the end that do not fit even in their shortest form. */
function cut(blocks: readonly Block[], warnings: string[]): readonly Block[] {
  let size = 0;
  let count = 0;
  while (count < blocks.length && size + sizeOf(blocks[count]!.short) <= MAX_LIST_SIZE)
    size += sizeOf(blocks[count++]!.short);
  const left = blocks.slice(count).filter(({ short }) => short.length > 0);
  if (left.length > 0) {
    const names = left.map(({ item }) => nameOfLine(item.line));
    warnings.push(
      `left out, because the runtime ignores a list of more than ${MAX_LIST_SIZE} bytes: ` +
        `${left.length === 1 ? names[0] : `${names[0]} to ${names.at(-1)}`}; list directories instead of their files`,
    );
  }
  return blocks.slice(0, count);
}

function sizeOf(lines: readonly string[]): number {
  return lines.reduce((sum, line) => sum + line.length + 1, 0);
}

function blocksOf(files: readonly PrefetchFile[]): number {
  return files.reduce((sum, { ranges }) => sum + ranges.reduce((bytes, { length }) => bytes + length, 0), 0);
}
