/** The layers that the reference's tools wrote (fixtures/goldens), taken out of their tars, for tests. */
import { readFileSync } from 'node:fs';
import type { ReadAt } from '../../../base/byte-source.ts';
import { parseCommitTarHead } from '../commit-tar.ts';

const root = new URL('../../../fixtures/goldens/', import.meta.url);

/** Full layers, as they are pushed. */
export const fullGoldens: readonly string[] = [
  'full/l0/overlaybd.commit',
  'full/l1/overlaybd.commit',
  'edge/dot/full-l0.commit',
  'edge/opqlate/full-l0.commit',
  'edge/opqlate/full-l1.commit',
  'edge/rootopq/full-l0.commit',
  'edge/rootopq/full-l1.commit',
  'edge/whdot/full-l0.commit',
  'edge/whdot/full-l1.commit',
];

/** Metadata of index-only layers. */
export const warpGoldens: readonly string[] = ['turbo/l0/ext4.fs.meta', 'turbo/l1/ext4.fs.meta'];

/** The bytes of a golden. */
export function golden(name: string): Uint8Array {
  return readFileSync(new URL(name, root));
}

/** The ZFile in a golden layer. */
export function goldenZFile(name: string): Uint8Array {
  const bytes = golden(name);
  if (!fullGoldens.includes(name)) return bytes;
  const { zfileOffset, zfileSize } = parseCommitTarHead(bytes);
  return bytes.subarray(zfileOffset, zfileOffset + zfileSize);
}

/** Reads ranges of `bytes`, shorter at the end, as a file does. */
export function readerOf(bytes: Uint8Array): ReadAt {
  return async (offset, length) => bytes.subarray(offset, offset + length);
}
