/**
 * Replays an acceleration layer on the lazy reader as a node does: a model of the runtime's rules (docs/formats.md §7).
 */
import { Limiter } from '../../base/limiter.ts';
import { TAG_LOCAL } from '../../formats/lsmt/layout.ts';
import { MAX_READ } from '../../formats/prefetch/layout.ts';
import { namesDirectory } from '../../formats/prefetch/list.ts';
import { decodePrefetch } from '../../formats/prefetch/reader.ts';
import type { AcceleratedImage } from '../accelerated-image.ts';
import { type FileStat, type ImageFiles, openFiles } from '../files.ts';

/** Reads under way at a time: the runtime's default. */
const CONCURRENCY = 16;
const SECTOR = 512;

/** Replays the content of an acceleration layer: the reads of a trace, or the files of a list in pieces of 1 MiB. */
export async function replay(image: AcceleratedImage, trace: Uint8Array): Promise<void> {
  const content = decodePrefetch(trace);
  const limiter = new Limiter(CONCURRENCY);
  const { device } = image;
  if (content.form === 'trace') {
    const reads = content.reads.map((read) => limiter.run(() => device.readLayer({ ...read, tag: TAG_LOCAL })));
    await Promise.all(reads);
    return;
  }
  const files = await openFiles(image);
  const reads: Promise<unknown>[] = [];
  for (const line of content.list.kept) {
    for await (const stat of filesOf(files, line))
      for (const { offset, length } of await slicesOf(files, stat))
        reads.push(limiter.run(() => device.read(offset, length)));
  }
  await Promise.all(reads);
}

async function* filesOf(files: ImageFiles, line: string): AsyncGenerator<FileStat> {
  if (!namesDirectory(line)) {
    const stat = await files.find(line);
    if (stat?.type === 'file') yield stat;
    return;
  }
  for await (const stat of files.walk(line)) if (stat.type === 'file') yield stat;
}

/** The runtime goes through the extents until the file's size, in whole sectors, is used up. */
async function slicesOf(files: ImageFiles, stat: FileStat): Promise<{ offset: number; length: number }[]> {
  const slices: { offset: number; length: number }[] = [];
  let left = Math.ceil(stat.size / SECTOR) * SECTOR;
  for (const extent of await files.extents(stat)) {
    const length = Math.min(extent.length, left);
    left -= length;
    for (let at = 0; at < length; at += MAX_READ)
      slices.push({ offset: extent.offset + at, length: Math.min(MAX_READ, length - at) });
  }
  return slices;
}
