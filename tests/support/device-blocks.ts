/** The content of a block device, as a map of its blocks: for comparing devices byte by byte, and for e2fsck. */
import { closeSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import type { MappedDevice } from '../../reader/block-device.ts';

const BLOCK_SIZE = 4096;

/** Blocks by number; those of nothing but zeros are left out. */
export type DeviceBlocks = ReadonlyMap<number, Uint8Array>;

/** Reads all that is not a hole. */
export async function readBlocks(device: MappedDevice): Promise<DeviceBlocks> {
  const blocks = new Map<number, Uint8Array>();
  const parts = [...device.parts(0, device.size)].filter((part) => !part.zeroed);
  for (const numbers of parts.map(({ offset, length }) => [
    Math.floor(offset / BLOCK_SIZE),
    Math.ceil((offset + length) / BLOCK_SIZE),
  ])) {
    const [first, end] = numbers as [number, number];
    const bytes = await device.read(first * BLOCK_SIZE, (end - first) * BLOCK_SIZE);
    for (let block = first; block < end; block++) {
      const at = (block - first) * BLOCK_SIZE;
      const piece = bytes.subarray(at, at + BLOCK_SIZE);
      if (piece.some((byte) => byte !== 0)) blocks.set(block, piece);
    }
  }
  return blocks;
}

/** The numbers of the blocks that differ, ascending. */
export function differingBlocks(a: DeviceBlocks, b: DeviceBlocks): number[] {
  const numbers = new Set([...a.keys(), ...b.keys()]);
  return [...numbers].filter((number) => !isSame(a.get(number), b.get(number))).sort((x, y) => x - y);
}

function isSame(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  return a !== undefined && b !== undefined && Buffer.compare(a, b) === 0;
}

/** Writes a device as a sparse file. */
export function writeDevice(path: string, blocks: DeviceBlocks, size: number): void {
  const fd = openSync(path, 'w');
  try {
    ftruncateSync(fd, size);
    for (const [number, bytes] of blocks) writeSync(fd, bytes, 0, bytes.length, number * BLOCK_SIZE);
  } finally {
    closeSync(fd);
  }
}
