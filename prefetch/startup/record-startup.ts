/** Makes a prefetch list for an image without running it: from its config, and from files that were read elsewhere. */

import { replaceFile } from '../../disk/write-atomically.ts';
import { decodeTrace, isTrace } from '../../formats/prefetch/reader.ts';
import type { AcceleratedImage } from '../../reader/accelerated-image.ts';
import { openFiles } from '../../reader/files.ts';
import { filesOfTrace } from '../trace-files.ts';
import { commandOf } from './command.ts';
import { parseSeenPaths } from './seen.ts';
import { findStartupFiles, type StartupGroup } from './startup.ts';

/** The sources of the list. */
export interface RecordRequest {
  /** Whether to use the image's config. */
  readonly useConfig: boolean;
  /** Further sources: lines of strace or fatrace, paths, or a trace of an acceleration layer of the same image. */
  readonly from: readonly { readonly name: string; readonly bytes: Uint8Array }[];
}

/** A list. */
export interface RecordedPrefetch {
  /** By where they come from; real paths in the image, Latin-1, each file once. */
  readonly groups: readonly StartupGroup[];
  readonly files: number;
  /** Bytes of content. */
  readonly bytes: number;
  /** Files that were not found, and files that were left out. */
  readonly notes: readonly string[];
}

/** Makes the list. Throws `prefetch-invalid` for a damaged trace. */
export async function recordPrefetch(image: AcceleratedImage, request: RecordRequest): Promise<RecordedPrefetch> {
  const files = await openFiles(image);
  const groups: StartupGroup[] = [];
  const notes: string[] = [];
  if (request.useConfig) {
    const startup = await findStartupFiles(files, image.config);
    groups.push(...startup.groups);
    notes.push(...startup.notes);
  }
  const { directory } = commandOf(image.config);
  for (const { name, bytes } of request.from) {
    if (isTrace(bytes)) groups.push({ why: name, paths: await filesOfTrace(image, files, decodeTrace(bytes)) });
    else groups.push({ why: name, paths: parseSeenPaths(bytes, directory).paths });
  }
  const seen = new Set<number>();
  const kept: StartupGroup[] = [];
  const total = { files: 0, bytes: 0 };
  for (const { why, paths } of groups) {
    const real: string[] = [];
    let absent = 0;
    for (const path of paths) {
      const stat = await files.find(path);
      if (stat?.type !== 'file') absent++;
      else if (!seen.has(stat.inode)) {
        seen.add(stat.inode);
        real.push(stat.path);
        total.files++;
        total.bytes += stat.size;
      }
    }
    if (absent > 0) notes.push(`${why}: ${absent} of ${paths.length} paths are no files of the image`);
    if (real.length > 0) kept.push({ why, paths: real });
  }
  return { groups: kept, ...total, notes };
}

/** The list as the bytes of a file: a comment before each group, then its paths. */
export function encodeRecorded({ groups }: Pick<RecordedPrefetch, 'groups'>): Uint8Array {
  const lines = groups.flatMap(({ why, paths }) => [`# ${why.replaceAll('\n', ' ')}`, ...paths]);
  return Buffer.from(lines.map((line) => `${line}\n`).join(''), 'latin1');
}

/** Writes the list to a file that a user named, as {@link replaceFile} does. */
export function saveRecorded(recorded: Pick<RecordedPrefetch, 'groups'>, file: string): Promise<void> {
  return replaceFile(file, encodeRecorded(recorded));
}
