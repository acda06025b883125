/** Damaged indexes of a sound gzip file: decoded, their windows opened, and read through. */
import { deflateSync, gzipSync, inflateSync } from 'node:zlib';
import { AccelError } from '../../../base/error.ts';
import { demoBinary, demoText } from '../../../fixtures/demo-content.ts';
import { crc32c } from '../../../formats/checksum/crc32c.ts';
import { decodeGzipIndex, encodeGzipIndex, windowOf } from '../../../formats/gzip/gzip-index.ts';
import { INDEX_HEADER_CHECKED, indexEntry, indexHeader } from '../../../formats/gzip/layout.ts';
import { GzipIndexReader } from '../../../formats/gzip/reader.ts';
import { GzipStream } from '../../../formats/gzip/stream.ts';
import { mutateBytes } from '../mutate-bytes.ts';
import type { FuzzRandom } from '../random.ts';
import { demand, type FuzzTarget } from '../target.ts';

const { offsets } = indexHeader;

function mendHeader(bytes: Uint8Array): void {
  if (bytes.length < indexHeader.size) return;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  view.setUint32(INDEX_HEADER_CHECKED, crc32c(bytes.subarray(0, INDEX_HEADER_CHECKED)), true);
}

/** Damages the entries inside of their zlib stream, and puts them back with the lengths that they have then. */
function damageEntries(index: Uint8Array, random: FuzzRandom): Uint8Array {
  const view = new DataView(index.buffer, index.byteOffset);
  const start = Number(view.getBigInt64(offsets.index_start, true));
  const entries = new Uint8Array(inflateSync(index.subarray(start)));
  const number = random.below(entries.length / indexEntry.size);
  const fields = Object.values(indexEntry.offsets).map((at) => number * indexEntry.size + at);
  const packed = deflateSync(mutateBytes(entries, random, { fields, block: indexEntry.size, resize: random.oneIn(8) }));
  const out = new Uint8Array(Buffer.concat([index.subarray(0, start), packed]));
  const outView = new DataView(out.buffer, out.byteOffset);
  outView.setBigInt64(offsets.index_area_len, BigInt(packed.length), true);
  outView.setBigInt64(offsets.index_file_size, BigInt(out.length), true);
  mendHeader(out);
  return out;
}

/** The reader of `gzip.meta`, and random access through it. */
export const ddgzidxTarget: FuzzTarget = {
  name: 'ddgzidx',
  codes: ['turbo-invalid', 'gzip-invalid'],
  cases: 600,
  async open() {
    const content = Buffer.concat([Buffer.from(demoText(1, 150_000)), demoBinary(2, 150_000)]);
    const gzip = new Uint8Array(gzipSync(content, { memLevel: 2 }));
    const stream = new GzipStream({ span: 65_536, members: 'single', onOutput: () => undefined });
    stream.push(gzip);
    const sound = encodeGzipIndex(stream.finish());
    return {
      make(random) {
        if (random.oneIn(2)) return { bytes: damageEntries(sound, random), mended: true };
        const bytes = mutateBytes(sound, random, { fields: Object.values(offsets) });
        const mended = !random.oneIn(4);
        if (mended) mendHeader(bytes);
        return { bytes, mended };
      },
      async check({ bytes, mended }, random) {
        const index = decodeGzipIndex(bytes);
        demand(index.points.length * indexEntry.size <= 1032 * bytes.length, 'more entries than the index can hold');
        const windows = random.pick(index.points);
        const reader = new GzipIndexReader(index);
        const at = random.below(content.length);
        try {
          windowOf(windows);
          const fetch = async (from: number, to: number) => {
            demand(from >= 0 && from <= to && to <= index.compressedSize, `fetch of ${from} to ${to}`);
            if (to > gzip.length) throw new AccelError('size-mismatch', 'the blob is shorter than its index says');
            return gzip.slice(from, to);
          };
          const piece = await reader.readAt(at, 1 + random.below(9000), fetch);
          demand(mended || content.subarray(at, at + piece.length).equals(piece), `another content at ${at}`);
        } catch (error) {
          // Fetching notices that the file is cut short; here an index may claim a longer one.
          if (error instanceof AccelError && error.code === 'size-mismatch') return;
          throw error;
        }
      },
    };
  },
};
