/** Metadata blocks of a file system damaged: read as a node's files are, and as the state that a next layer goes on from. */

import { TarBuilder } from '../../../fixtures/tar-builder.ts';
import { TarApplier } from '../../../formats/ext4/apply-tar.ts';
import { Ext4Image } from '../../../formats/ext4/ext4-image.ts';
import { BLOCK_SIZE, GROUP_BYTES } from '../../../formats/ext4/layout.ts';
import { loadImage } from '../../../formats/ext4/load-image.ts';
import type { BlockDevice } from '../../../formats/ext4/reader.ts';
import { TarParser } from '../../../formats/tar/parser.ts';
import { openFiles } from '../../../reader/files.ts';
import { mutateBytes } from '../mutate-bytes.ts';
import type { FuzzRandom } from '../random.ts';
import { demand, type FuzzInput, type FuzzTarget } from '../target.ts';

/** cap_net_raw, permitted and effective: version 2, 20 bytes. */
const CAPABILITY = Uint8Array.of(1, 0, 0, 2, 0, 0x20, ...new Uint8Array(14));

const VIRTUAL_SIZE = 2 * GROUP_BYTES;
/** Names of the sound tree, and then some: a damaged one may show names twice, but not without end. */
const MAX_NAMES = 100_000;
/** Bytes of a file that are read; a size may claim anything. */
const MAX_CONTENT = 1 << 20;
/** Inputs begin with the number of the block that they replace. */
const NUMBER_SIZE = 4;

/** A device that holds these blocks, and zeros elsewhere. */
class BlocksDevice implements BlockDevice {
  readonly size = VIRTUAL_SIZE;
  readonly blocks: Map<number, Uint8Array>;

  constructor(blocks: Map<number, Uint8Array>) {
    this.blocks = blocks;
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    const inside = Number.isSafeInteger(offset) && offset >= 0 && length >= 0 && offset + length <= this.size;
    demand(inside, `a read of ${length} bytes at ${offset} of a device of ${this.size}`);
    demand(length <= 16 << 20, `a read of ${length} bytes at once`);
    const out = new Uint8Array(length);
    for (let at = offset - (offset % BLOCK_SIZE); at < offset + length; at += BLOCK_SIZE) {
      const block = this.blocks.get(at / BLOCK_SIZE);
      if (block === undefined) continue;
      const from = Math.max(at, offset);
      const to = Math.min(at + BLOCK_SIZE, offset + length);
      out.set(block.subarray(from - at, to - at), from - offset);
    }
    return out;
  }
}

/** A tree with every kind of inode, an indexed directory, a deep extent tree and attributes in a block of their own. */
function soundTar(): Uint8Array {
  const tar = new TarBuilder()
    .dir('d/')
    .file('d/file', 'content '.repeat(3000), { xattrs: { 'user.small': 'x' } })
    .file('large', 'v', {
      xattrs: { 'user.large': 'v'.repeat(3000), 'security.capability': CAPABILITY },
    })
    .symlink('short', 'd/file')
    .symlink('long', `${'d/../'.repeat(30)}d/file`)
    .link('again', 'd/file')
    .device('null', 'character', 1, 3)
    .fifo('pipe')
    .dir('many/');
  for (let i = 0; i < 700; i++) tar.file(`many/a-name-of-some-length-${i}`, '');
  return tar.build();
}

/** The sound blocks by number, and those of them that hold metadata. */
function soundBlocks(): { blocks: Map<number, Uint8Array>; metadata: number[] } {
  const blocks = new Map<number, Uint8Array>();
  const image = new Ext4Image({ virtualSize: VIRTUAL_SIZE });
  let at = 0;
  const put = (offset: number, bytes: Uint8Array): void => {
    const number = Math.floor(offset / BLOCK_SIZE);
    const block = blocks.get(number) ?? new Uint8Array(BLOCK_SIZE);
    const room = BLOCK_SIZE - (offset % BLOCK_SIZE);
    block.set(bytes.subarray(0, room), offset % BLOCK_SIZE);
    blocks.set(number, block);
    if (bytes.length > room) put(offset + room, bytes.subarray(room));
  };
  const sink = {
    beginRun: (device: number) => {
      at = device;
    },
    write: (bytes: Uint8Array) => {
      put(at, bytes);
      at += bytes.length;
    },
  };
  image.beginLayer();
  const parser = new TarParser(new TarApplier(image, sink, () => undefined));
  parser.push(soundTar());
  parser.end();
  const metadata: number[] = [];
  for (const { block, bytes } of image.commit()) {
    blocks.set(block, bytes.slice());
    // Bitmaps and empty inode tables say nothing that a reader looks at.
    if (bytes.some((byte) => byte !== 0)) metadata.push(block);
  }
  return { blocks, metadata };
}

/** The number of a block and its damaged content. */
function damagedBlock(sound: ReturnType<typeof soundBlocks>, random: FuzzRandom): FuzzInput {
  const number = random.pick(sound.metadata);
  // Most structures are made of 4-byte fields; those of the superblock begin at 1024.
  const fields = Array.from({ length: 64 }, () => 4 * random.below(BLOCK_SIZE / 4));
  if (number === 0) fields.push(...Array.from({ length: 64 }, (_, i) => 1024 + 4 * i));
  const block = mutateBytes(sound.blocks.get(number)!, random, { fields, block: 256, resize: false });
  const bytes = new Uint8Array(NUMBER_SIZE + BLOCK_SIZE);
  new DataView(bytes.buffer).setUint32(0, number, true);
  bytes.set(block, NUMBER_SIZE);
  return { bytes, mended: true };
}

function deviceWith(sound: ReturnType<typeof soundBlocks>, { bytes }: FuzzInput): BlocksDevice {
  const number = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  return new BlocksDevice(new Map(sound.blocks).set(number, bytes.subarray(NUMBER_SIZE)));
}

async function readTree(device: BlocksDevice): Promise<void> {
  const files = await openFiles({ device });
  let names = 0;
  for await (const stat of files.walk()) {
    demand(++names <= MAX_NAMES, `more than ${MAX_NAMES} names`);
    if (names % 50 === 0) await files.lookup(stat.path, { followLast: false });
    await files.xattrs(stat);
    if (stat.type !== 'file') continue;
    let read = 0;
    for await (const piece of files.content(stat, 0, MAX_CONTENT)) read += piece.length;
    demand(read === Math.min(stat.size, MAX_CONTENT), `${read} bytes of a file of ${stat.size}`);
  }
}

/** The reader of file systems, and of paths in them. */
export const ext4Target: FuzzTarget = {
  name: 'ext4',
  codes: ['ext4-invalid', 'limit-exceeded', 'not-found'],
  cases: 200,
  async open() {
    const sound = soundBlocks();
    await readTree(new BlocksDevice(sound.blocks));
    return {
      make: (random) => damagedBlock(sound, random),
      check: (input) => readTree(deviceWith(sound, input)),
    };
  },
};

/** The state of accel's own file system, read back to go on with the next layer. */
export const ext4LoadTarget: FuzzTarget = {
  name: 'ext4-load',
  codes: ['ext4-invalid', 'limit-exceeded'],
  cases: 200,
  async open() {
    const sound = soundBlocks();
    await loadImage(new BlocksDevice(sound.blocks));
    return {
      make: (random) => damagedBlock(sound, random),
      async check(input) {
        const image = await loadImage(deviceWith(sound, input), { maxFiles: 10_000 });
        demand(image.files <= 10_000, `${image.files} files`);
      },
    };
  },
};
