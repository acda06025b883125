/** Reads a device from start to end and at random places, and counts the processor time. */
import type { MappedDevice } from '../reader/block-device.ts';
import { Random } from './content.ts';

/** Processor time of reads of one device. */
export interface ReadCost {
  /** Bytes that a sequential read gives for each second of processor time. */
  readonly rate: number;
  /** Seconds of processor time of a read of 4 KiB at random. */
  readonly small: number;
  /** Seconds of processor time of a read of 128 KiB at random. */
  readonly large: number;
}

/** A part of the device that is read. */
export interface DeviceRead {
  readonly offset: number;
  readonly length: number;
}

/** Reads of a measurement. */
export interface DeviceReads {
  /** Reads of at most 128 KiB that cover the first data of the device. */
  readonly sequential: readonly DeviceRead[];
  readonly small: readonly DeviceRead[];
  readonly large: readonly DeviceRead[];
}

/** Bytes of data that are read one after the other. */
const SEQUENTIAL = 128 << 20;
const SMALL = 4 << 10;
const LARGE = 128 << 10;
const SMALL_READS = 1000;
const LARGE_READS = 300;
/** The most reads of each kind that come first and do not count. */
const WARM_UP = 32;
const SEED = 22;

interface Measured {
  /** Of processor time. */
  readonly seconds: number;
  readonly counted: readonly DeviceRead[];
}

/** Measures the reads of {@link planReads}; the first of each kind do not count. */
export async function measureReads(device: MappedDevice): Promise<ReadCost> {
  const { sequential, small, large } = planReads(device);
  const measure = async (reads: readonly DeviceRead[]): Promise<Measured> => {
    const warmUp = Math.min(WARM_UP, reads.length >> 2);
    await secondsOf(device, reads.slice(0, warmUp));
    const counted = reads.slice(warmUp);
    return { seconds: await secondsOf(device, counted), counted };
  };
  const inOrder = await measure(sequential);
  const perRead = ({ seconds, counted }: Measured): number => seconds / counted.length;
  return {
    rate: inOrder.counted.reduce((sum, { length }) => sum + length, 0) / inOrder.seconds,
    small: perRead(await measure(small)),
    large: perRead(await measure(large)),
  };
}

/** Chooses reads by what the device maps alone: equal devices have the same reads, however their blocks are stored. */
export function planReads(device: MappedDevice): DeviceReads {
  const data = mergeData(device);
  return {
    sequential: firstReads(data),
    small: randomReads(data, SMALL, SMALL_READS),
    large: randomReads(data, LARGE, LARGE_READS),
  };
}

async function secondsOf(device: MappedDevice, reads: readonly DeviceRead[]): Promise<number> {
  const before = process.cpuUsage();
  for (const { offset, length } of reads) await device.read(offset, length);
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1e6;
}

/** The parts of the device with data; those that touch are one. */
function mergeData(device: MappedDevice): DeviceRead[] {
  const merged: DeviceRead[] = [];
  for (const { offset, length, zeroed } of device.parts(0, device.size)) {
    if (zeroed) continue;
    const last = merged.at(-1);
    if (last !== undefined && last.offset + last.length === offset)
      merged[merged.length - 1] = { offset: last.offset, length: last.length + length };
    else merged.push({ offset, length });
  }
  return merged;
}

function firstReads(data: readonly DeviceRead[]): DeviceRead[] {
  const reads: DeviceRead[] = [];
  let left = SEQUENTIAL;
  for (const { offset, length } of data) {
    for (let done = 0; done < length && left > 0; done += LARGE) {
      const read = { offset: offset + done, length: Math.min(LARGE, length - done, left) };
      reads.push(read);
      left -= read.length;
    }
  }
  return reads;
}

/** Reads of `length` bytes that lie whole in data, at multiples of 4 KiB from its beginning; none where no part is as long. */
function randomReads(data: readonly DeviceRead[], length: number, count: number): DeviceRead[] {
  const places = data.flatMap((part) =>
    Array.from({ length: Math.floor((part.length - length) / SMALL) + 1 }, (_, block) => part.offset + block * SMALL),
  );
  if (places.length === 0) return [];
  const random = new Random(SEED);
  return Array.from({ length: count }, () => ({ offset: places[random.below(places.length)]!, length }));
}
