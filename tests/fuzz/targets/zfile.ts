/** Damaged ZFiles, some with every checksum made right again. */
import { demoBinary, demoText } from '../../../fixtures/demo-content.ts';
import { CRC32C_BLOCK_SALT, crc32c } from '../../../formats/checksum/crc32c.ts';
import { makeBlockCompressor } from '../../../formats/zfile/compressor.ts';
import { ZFILE_SPACE, type ZFileAlgorithm, zfileStruct } from '../../../formats/zfile/layout.ts';
import { ZFileReader } from '../../../formats/zfile/reader.ts';
import { ZFileWriter } from '../../../formats/zfile/writer.ts';
import { mutateBytes } from '../mutate-bytes.ts';
import type { FuzzRandom } from '../random.ts';
import { demand, type FuzzTarget } from '../target.ts';

/** A file of more is not read to its end. */
const MAX_CONTENT = 4 << 20;
const { offsets } = zfileStruct;

/** A ZFile in memory. */
export async function zfileOf(content: Uint8Array, algorithm: ZFileAlgorithm, blockSize: number): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  const writer = new ZFileWriter({
    algorithm,
    blockSize,
    compressor: makeBlockCompressor({ algorithm, blockSize }),
    write: async (bytes) => {
      pieces.push(bytes.slice());
    },
  });
  writer.write(content);
  await writer.drain();
  const { header } = await writer.finish();
  const out = new Uint8Array(Buffer.concat(pieces));
  out.set(header);
  return out;
}

/** Rewrites the digests of header and trailer and the checksum of the index, and of the blocks if `blocks`. */
export function mendZFile(bytes: Uint8Array, blocks: boolean): void {
  if (bytes.length < 2 * ZFILE_SPACE) return;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const trailerAt = bytes.length - ZFILE_SPACE;
  const u64 = (at: number) => Number(view.getBigUint64(at, true));
  const indexAt = u64(trailerAt + offsets.indexOffset);
  const entries = u64(trailerAt + offsets.indexSize);
  if (indexAt + 4 * entries <= trailerAt) {
    const indexCrc = crc32c(bytes.subarray(indexAt, indexAt + 4 * entries));
    for (const at of [0, trailerAt]) view.setUint32(at + offsets.indexCrc, indexCrc, true);
    if (blocks) mendBlocks(bytes, view, indexAt, entries);
  }
  for (const at of [0, trailerAt]) {
    view.setUint32(at + offsets.digest, 0, true);
    view.setUint32(at + offsets.digest, crc32c(bytes.subarray(at, at + ZFILE_SPACE)), true);
  }
}

function mendBlocks(bytes: Uint8Array, view: DataView, indexAt: number, entries: number): void {
  for (let i = 0, at = ZFILE_SPACE; i < entries; i++) {
    const end = at + view.getUint32(indexAt + 4 * i, true);
    if (end > indexAt || end < at + 4) return;
    view.setUint32(end - 4, crc32c(bytes.subarray(at, end - 4), CRC32C_BLOCK_SALT), true);
    at = end;
  }
}

async function readAll(bytes: Uint8Array, index: 'whole' | 'needed', random: FuzzRandom): Promise<Uint8Array> {
  const read = async (offset: number, length: number) => bytes.slice(offset, offset + length);
  const zfile = await ZFileReader.open(read, bytes.length, { index });
  demand(zfile.blockCount * 4 <= bytes.length, `${zfile.blockCount} blocks in ${bytes.length} bytes`);
  const size = Math.min(zfile.size, MAX_CONTENT);
  if (random.oneIn(2)) await zfile.read(random.below(size), 0);
  return zfile.read(0, size);
}

/** The ZFile reader: unless the checksums were mended, what is accepted is what was written. */
export const zfileTarget: FuzzTarget = {
  name: 'zfile',
  codes: ['zfile-invalid', 'zstd-invalid'],
  cases: 1500,
  async open() {
    const content = new Uint8Array(Buffer.concat([Buffer.from(demoText(1, 30_000)), demoBinary(2, 20_001)]));
    const contents = [content, new Uint8Array(70_000), content.subarray(0, 1)];
    const sound: { content: Uint8Array; bytes: Uint8Array }[] = [];
    for (const one of contents) {
      for (const [algorithm, size] of [
        ['lz4', 4096],
        ['zstd', 4096],
        ['lz4', 65_536],
      ] as const)
        sound.push({ content: one, bytes: await zfileOf(one, algorithm, size) });
    }
    sound.push({ content: new Uint8Array(0), bytes: await zfileOf(new Uint8Array(0), 'lz4', 4096) });
    const fields = Object.values(offsets);
    return {
      make(random) {
        const { bytes: original } = random.pick(sound);
        const trailer = original.length - ZFILE_SPACE;
        const all = [...fields, ...fields.map((at) => trailer + at), trailer - 4, trailer - 8, ZFILE_SPACE];
        const bytes = mutateBytes(original, random, { fields: all, block: 4 });
        const mended = !random.oneIn(4);
        if (mended) mendZFile(bytes, !random.oneIn(3));
        return { bytes, mended };
      },
      async check({ bytes, mended }, random) {
        const read = await readAll(bytes, random.oneIn(2) ? 'whole' : 'needed', random);
        const known = sound.some(({ content: one }) => Buffer.from(one).equals(read));
        demand(mended || known, 'content that nobody wrote was accepted under true checksums');
      },
    };
  },
};
