/**
 * Resolves a prefetch list in an image: the files of its lines, the position of their content, and the metadata that a
 * node reads to find them. The look-ups really happen, on a device that records their reads.
 */
import { AccelError } from '../base/error.ts';
import type { BlockDevice } from '../formats/ext4/reader.ts';
import { type FileStat, type ImageFiles, openFiles } from '../reader/files.ts';
import { isPattern, matchPaths } from './glob.ts';
import type { PrefetchLine } from './lines.ts';

/** A part of the device. */
export interface DeviceRange {
  readonly offset: number;
  readonly length: number;
}

/** A file that is to be prefetched. */
export interface PrefetchFile {
  /** Where it really is, Latin-1, symlinks resolved; its first name in the list. */
  readonly path: string;
  /** Bytes of content. */
  readonly size: number;
  /** Where its content lies, in the order of the content and in whole blocks. */
  readonly ranges: readonly DeviceRange[];
}

/** The files of a line. */
export interface PrefetchItem {
  readonly line: PrefetchLine;
  /** The directory, when the line meant all that is below one. */
  readonly directory?: string;
  /** The files, each in the first item that means it. */
  readonly files: readonly PrefetchFile[];
}

/** A line that means nothing, or not what it seems to. */
export interface PrefetchProblem {
  readonly line: PrefetchLine;
  /** Whether nothing of that name is in the image. */
  readonly missing: boolean;
  readonly reason: string;
}

/** A list that was resolved in an image. */
export interface ResolvedPrefetch {
  /** Blocks of metadata, ascending: what mounting and looking up all files reads. */
  readonly metadata: readonly DeviceRange[];
  readonly items: readonly PrefetchItem[];
  readonly problems: readonly PrefetchProblem[];
  /** Different files. */
  readonly files: number;
  /** Bytes of their content. */
  readonly bytes: number;
}

/** Files that a list may come to. */
const MAX_FILES = 1_000_000;
/** The unit in which metadata is noted: a block of the file system. */
const BLOCK = 4096;

/**
 * Resolves the lines in their order. Throws `limit-exceeded` past a million files, and what reading the file system
 * throws; what is wrong with a line is a problem of the result.
 */
export async function resolvePrefetch(
  device: BlockDevice,
  lines: readonly PrefetchLine[],
  signal?: AbortSignal,
): Promise<ResolvedPrefetch> {
  const noted = new NotingDevice(device);
  // Two views of one file system: what wildcards have to go through is nothing that a node reads.
  const [files, explorer] = [await openFiles({ device: noted }), await openFiles({ device })];
  for (const { offset, length } of files.mountExtents()) noted.note(offset, length);
  const resolution = new Resolution(files, explorer, signal);
  for (const line of lines) await resolution.add(line);
  return {
    metadata: noted.ranges(),
    items: resolution.items,
    problems: resolution.problems,
    files: resolution.files,
    bytes: resolution.bytes,
  };
}

class Resolution {
  readonly items: PrefetchItem[] = [];
  readonly problems: PrefetchProblem[] = [];
  files = 0;
  bytes = 0;
  readonly #files: ImageFiles;
  readonly #explorer: ImageFiles;
  readonly #signal: AbortSignal | undefined;
  readonly #inodes = new Set<number>();

  constructor(files: ImageFiles, explorer: ImageFiles, signal: AbortSignal | undefined) {
    this.#files = files;
    this.#explorer = explorer;
    this.#signal = signal;
  }

  async add(line: PrefetchLine): Promise<void> {
    this.#signal?.throwIfAborted();
    const wantsAll = line.path.endsWith('/');
    // A name is what it is before it is a pattern: every image has a /usr/bin/[.
    if ((await this.#explorer.find(line.path)) !== undefined) return this.#path(line, line.path, wantsAll, false);
    if (!isPattern(line.path)) return this.#problem(line, true, 'there is no such file in the image');
    let matches = 0;
    for await (const { path } of matchPaths(this.#explorer, line.path)) {
      const found = await this.#explorer.find(path);
      // A pattern means files, with a slash at its end directories; a symlink to nowhere is neither.
      if (found === undefined || (found.type === 'directory') !== wantsAll) continue;
      matches++;
      await this.#path(line, path, wantsAll, true);
    }
    if (matches === 0) this.#problem(line, true, 'nothing in the image matches');
  }

  async #path(line: PrefetchLine, path: string, wantsAll: boolean, isMatch: boolean): Promise<void> {
    const steps: FileStat[] = [];
    const stat = await this.#files.lookup(path, { onStep: (step) => steps.push(step) });
    // Permissions may be in an ACL, and what a program may do in an attribute: a node reads them on the way.
    for (const step of steps) await this.#files.xattrs(step);
    if (stat.type === 'directory') {
      if (wantsAll) return this.#directory(line, stat);
      return this.#problem(line, false, 'this is a directory; end it with a slash to prefetch what is in it');
    }
    if (stat.type === 'file') this.items.push({ line, files: await this.#take(stat) });
    else if (!isMatch) this.#problem(line, false, `this is a ${stat.type}, which has no content`);
  }

  async #directory(line: PrefetchLine, directory: FileStat): Promise<void> {
    const files: PrefetchFile[] = [];
    for await (const stat of this.#files.walk(directory)) {
      this.#signal?.throwIfAborted();
      await this.#files.xattrs(stat);
      if (stat.type === 'file') files.push(...(await this.#take(stat)));
    }
    this.items.push({ line, directory: directory.path, files });
  }

  /** The file, unless an earlier item has it. */
  async #take(stat: FileStat): Promise<PrefetchFile[]> {
    if (this.#inodes.has(stat.inode)) return [];
    this.#inodes.add(stat.inode);
    if (++this.files > MAX_FILES)
      throw new AccelError('limit-exceeded', 'the prefetch list comes to too many files', {
        expected: `at most ${MAX_FILES}`,
        hint: 'List the files that are needed first, not all of the image.',
      });
    this.bytes += stat.size;
    const whole = Math.ceil(stat.size / BLOCK) * BLOCK;
    const ranges = (await this.#files.extents(stat))
      .map(({ start, offset, length }) => ({ offset, length: Math.min(length, whole - start) }))
      .filter(({ length }) => length > 0);
    return [{ path: stat.path, size: stat.size, ranges }];
  }

  #problem(line: PrefetchLine, missing: boolean, reason: string): void {
    this.problems.push({ line, missing, reason });
  }
}

/** Notes which blocks are read. */
class NotingDevice implements BlockDevice {
  readonly size: number;
  readonly #device: BlockDevice;
  readonly #blocks = new Set<number>();

  constructor(device: BlockDevice) {
    this.#device = device;
    this.size = device.size;
  }

  read(offset: number, length: number): Promise<Uint8Array> {
    this.note(offset, length);
    return this.#device.read(offset, length);
  }

  note(offset: number, length: number): void {
    for (let block = Math.floor(offset / BLOCK); block * BLOCK < offset + length; block++) this.#blocks.add(block);
  }

  /** The blocks, ascending, neighbours joined. */
  ranges(): DeviceRange[] {
    const out: { offset: number; length: number }[] = [];
    for (const block of [...this.#blocks].sort((a, b) => a - b)) {
      const last = out.at(-1);
      if (last !== undefined && last.offset + last.length === block * BLOCK) last.length += BLOCK;
      else out.push({ offset: block * BLOCK, length: BLOCK });
    }
    return out;
  }
}
