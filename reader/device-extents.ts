/** Lists the extents of data and holes of a device, to copy or serve it without reading its holes. */
import type { BlockDevice } from '../formats/ext4/reader.ts';
import type { MappedDevice } from './block-device.ts';

/** A part of a device that is all data or all hole. */
export interface Extent {
  /** Byte of the device. */
  readonly offset: number;
  /** At least 1. */
  readonly length: number;
  /** Whether it reads as zeros and takes no space. */
  readonly hole: boolean;
}

/**
 * The extents of `length` bytes from `offset` on, in order and without a gap, neighbours of one kind joined. A hole
 * shorter than `minimalHole` bytes counts as data. A device that does not know its holes is all data. Lazy: looks up
 * extents only as they are requested.
 */
export function* extentsOf(
  device: BlockDevice | MappedDevice,
  offset: number,
  length: number,
  minimalHole = 1,
): Generator<Extent> {
  if (length === 0) return;
  if (!('parts' in device)) {
    yield { offset, length, hole: false };
    return;
  }
  /** Where the extent that is being put together begins, and the hole at its end that may turn out to be one. */
  let dataStart = offset;
  let holeStart: number | undefined;
  let at = offset;
  for (const part of device.parts(offset, length)) {
    if (part.zeroed) {
      holeStart ??= at;
    } else if (holeStart !== undefined) {
      if (at - holeStart >= minimalHole) {
        if (holeStart > dataStart) yield { offset: dataStart, length: holeStart - dataStart, hole: false };
        yield { offset: holeStart, length: at - holeStart, hole: true };
        dataStart = at;
      }
      holeStart = undefined;
    }
    at = part.offset + part.length;
  }
  const dataEnd = holeStart !== undefined && at - holeStart >= minimalHole ? holeStart : at;
  if (dataEnd > dataStart) yield { offset: dataStart, length: dataEnd - dataStart, hole: false };
  if (at > dataEnd) yield { offset: dataEnd, length: at - dataEnd, hole: true };
}
