/** Damaged LSMT indexes: what is accepted can be followed without a further check. */
import { ENTRY_SIZE, headerStruct, LSMT_SPACE, SECTOR_SIZE } from '../../../formats/lsmt/layout.ts';
import { readLsmtIndex } from '../../../formats/lsmt/reader.ts';
import { LsmtWriter } from '../../../formats/lsmt/writer.ts';
import { mutateBytes } from '../mutate-bytes.ts';
import { demand, type FuzzTarget } from '../target.ts';

const VIRTUAL_SIZE = 1 << 30;

/** A layer with data, zeros and, for an index-only one, places in the source tar. */
function soundLsmt(remote: boolean): Uint8Array {
  const pieces: Uint8Array[] = [];
  const emit = (bytes: Uint8Array): void => {
    pieces.push(bytes.slice());
  };
  const writer = new LsmtWriter({ virtualSize: VIRTUAL_SIZE, padIndex: !remote, emit });
  for (let i = 0; i < 20; i++) {
    writer.writeBlocks(i * 100_352, new Uint8Array(8192).fill(i + 1));
    writer.zero(i * 100_352 + 16_384, 4096);
    if (remote) writer.mapRemote(i * 100_352 + 65_536, 512 * (7 * i + 3), 1024);
  }
  writer.finish();
  return new Uint8Array(Buffer.concat(pieces));
}

/** The reader of a layer's index. */
export const lsmtTarget: FuzzTarget = {
  name: 'lsmt',
  codes: ['lsmt-invalid'],
  cases: 3000,
  async open() {
    const sound = [soundLsmt(false), soundLsmt(true)];
    const fields = Object.values(headerStruct.offsets);
    return {
      make(random) {
        const original = random.pick(sound);
        const trailer = original.length - LSMT_SPACE;
        const entries = Array.from(
          { length: 40 },
          (_, i) => trailer - ENTRY_SIZE * (i + 1) + random.pick([0, 6, 8, 14]),
        );
        const all = [...fields, ...fields.map((at) => trailer + at), ...entries];
        return { bytes: mutateBytes(original, random, { fields: all, block: ENTRY_SIZE }), mended: true };
      },
      async check({ bytes }, random) {
        const read = async (offset: number, length: number) => bytes.slice(offset, offset + length);
        const index = await readLsmtIndex(read, bytes.length);
        let end = 0;
        for (let i = 0; i < index.count; i++) {
          const { offset, length, moffset, zeroed, tag } = index.segment(i);
          demand(offset >= end && length > 0, `segment ${i} begins at ${offset}, before ${end}`);
          end = offset + length;
          demand(end <= index.virtualSize, `segment ${i} ends at ${end} of ${index.virtualSize}`);
          demand(Number.isSafeInteger(moffset + length), `segment ${i} points to ${moffset}`);
          const inside = moffset >= 8 * SECTOR_SIZE && moffset + length <= bytes.length;
          demand(zeroed || tag !== 0 || inside, `segment ${i} points to ${moffset} of ${bytes.length} bytes`);
        }
        const at = random.below(VIRTUAL_SIZE);
        const found = index.find(at);
        demand(found === index.count || index.segment(found).offset + index.segment(found).length > at, 'find is lost');
      },
    };
  },
};
