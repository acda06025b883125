/** Compares the content of files in device order, so that no part is fetched twice. */
import { withPlace } from '../base/error.ts';
import { printable } from '../formats/bytes/printable.ts';
import type { RawInode } from '../formats/ext4/inode.ts';
import type { BlockDevice, Ext4Reader } from '../formats/ext4/reader.ts';
import type { ContentTask } from './compare-tree.ts';
import { type ContentHash, contentHasher, type HashRule } from './source-tree/content-hash.ts';
import { type DifferenceLog, damageText } from './verify-report.ts';

/** Files that are read at a time. */
const PARALLEL = 4;
/** Bytes read at a time from an extent. */
const PIECE = 1 << 20;

/** The file system and device that {@link compareContents} reads. */
export interface ContentSource {
  readonly fs: Ext4Reader;
  readonly device: BlockDevice;
  readonly signal?: AbortSignal | undefined;
  /** Called with the bytes of each file when it is done. */
  readonly onFile?: (bytes: number) => void;
}

/** Reads and hashes every file; differences are logged in path order. Returns the number of bytes compared. */
export async function compareContents(
  source: ContentSource,
  tasks: readonly ContentTask[],
  log: DifferenceLog,
): Promise<number> {
  const queue = await inDeviceOrder(source.fs, tasks);
  const found = new Map<ContentTask, string>();
  let next = 0;
  let bytes = 0;
  const work = async (): Promise<void> => {
    for (let task = queue[next++]; task !== undefined; task = queue[next++]) {
      source.signal?.throwIfAborted();
      const text = await hashText(source, task);
      if (text !== textOf(task.node.attributes.content!)) found.set(task, text);
      bytes += task.inode.size;
      source.onFile?.(task.inode.size);
    }
  };
  await Promise.all(Array.from({ length: PARALLEL }, work));
  for (const task of tasks) {
    const text = found.get(task);
    if (text !== undefined) log.tree(task.path, 'content', textOf(task.node.attributes.content!), text);
  }
  return bytes;
}

async function inDeviceOrder(fs: Ext4Reader, tasks: readonly ContentTask[]): Promise<ContentTask[]> {
  const placed: { readonly task: ContentTask; readonly block: number }[] = [];
  for (const task of tasks) placed.push({ task, block: await firstBlock(fs, task.inode) });
  return placed.sort((a, b) => a.block - b.block).map(({ task }) => task);
}

async function firstBlock(fs: Ext4Reader, inode: RawInode): Promise<number> {
  try {
    return (await fs.extents(inode))[0]?.physical ?? 0;
  } catch (error) {
    // Damage is reported with the path when the file is read; any other error is thrown here.
    damageText(error);
    return 0;
  }
}

async function hashText(source: ContentSource, { path, node, inode }: ContentTask): Promise<string> {
  try {
    return textOf(await hashFile(source, inode, node.attributes.content!.rule));
  } catch (error) {
    try {
      return damageText(error);
    } catch {
      throw withPlace(error, { path: printable(path) });
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
