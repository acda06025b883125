/** Compares the content of files in device order, so that no part is fetched twice. */
import { withPlace } from '../base/error.ts';
import { Pacer } from '../base/pacer.ts';
import { printable } from '../formats/bytes/printable.ts';
import type { RawInode } from '../formats/ext4/inode.ts';
import type { BlockDevice, Ext4Reader } from '../formats/ext4/reader.ts';
import type { ContentTasks, MetFiles } from './met-files.ts';
import { type ContentHash, contentHasher, type HashRule } from './source-tree/content-hash.ts';
import type { SourceAttributes } from './source-tree/node.ts';
import { type DifferenceLog, damageText } from './verify-report.ts';

/** Files that are read at a time. */
const PARALLEL = 4;
/** Bytes read at a time from an extent. */
const PIECE = 1 << 20;

/** The file system and device that {@link compareContents} reads. */
export interface ContentSource {
  readonly fs: Ext4Reader;
  readonly device: BlockDevice;
  /** The attributes of a node of the source by its number. */
  readonly attributes: (node: number) => SourceAttributes;
  readonly signal?: AbortSignal | undefined;
  /** Called with the bytes of each file when it is done. */
  readonly onFile?: (bytes: number) => void;
}

/** Reads and hashes every file; differences are logged in path order. Returns the number of bytes compared. */
export async function compareContents(source: ContentSource, tasks: ContentTasks, log: DifferenceLog): Promise<number> {
  const { files } = tasks;
  const queue = tasks.inDeviceOrder();
  const found = new Map<number, { readonly expected: string; readonly text: string }>();
  let bytes = 0;
  const pacer = new Pacer(source.signal);
  const work = async (): Promise<void> => {
    for (const row of queue) {
      source.signal?.throwIfAborted();
      if (pacer.due) await pacer.pause();
      const { size, content } = source.attributes(files.node(row));
      const text = await hashText(source, files, row, content!.rule);
      const expected = textOf(content!);
      if (text !== expected) found.set(row, { expected, text });
      bytes += size;
      source.onFile?.(size);
    }
  };
  await Promise.all(Array.from({ length: PARALLEL }, work));
  for (const row of [...found.keys()].sort((a, b) => a - b)) {
    const { expected, text } = found.get(row)!;
    log.tree(files.path(row), 'content', expected, text);
  }
  return bytes;
}

async function hashText(source: ContentSource, files: MetFiles, row: number, rule: HashRule): Promise<string> {
  try {
    return textOf(await hashFile(source, await source.fs.inode(files.inode(row)), rule));
  } catch (error) {
    try {
      return damageText(error);
    } catch {
      throw withPlace(error, { path: printable(files.path(row)) });
    }
  }
}

async function hashFile({ fs, device, signal }: ContentSource, inode: RawInode, rule: HashRule): Promise<ContentHash> {
  const hasher = contentHasher(rule);
  if (rule === 'sha256') {
    let at = 0;
    for await (const chunk of fs.content(inode)) {
      signal?.throwIfAborted();
      hasher.update(at, chunk);
      at += chunk.length;
    }
    return hasher.finish();
  }
  // Holes count for nothing in this rule and are not visited: there may be terabytes of them.
  for (const { logical, physical, count, unwritten } of await fs.extents(inode)) {
    const start = logical * fs.blockSize;
    const end = Math.min(start + count * fs.blockSize, inode.size);
    for (let at = start; at < end && !unwritten; at += PIECE) {
      signal?.throwIfAborted();
      const length = Math.min(PIECE, end - at);
      hasher.update(at, await device.read(physical * fs.blockSize + at - start, length));
    }
  }
  return hasher.finish();
}

function textOf({ rule, hex }: ContentHash): string {
  return `${rule}:${hex}`;
}
