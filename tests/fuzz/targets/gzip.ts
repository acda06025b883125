/** Damaged gzip files, compared with node:zlib; and reading through the index of those that are accepted. */
import { crc32, deflateRawSync, gunzipSync, gzipSync, inflateRawSync } from 'node:zlib';
import { AccelError } from '../../../base/error.ts';
import { demoBinary, demoText } from '../../../fixtures/demo-content.ts';
import { decodeGzipIndex, encodeGzipIndex } from '../../../formats/gzip/gzip-index.ts';
import { GzipIndexReader } from '../../../formats/gzip/reader.ts';
import { GzipStream, type GzipSummary } from '../../../formats/gzip/stream.ts';
import { Inflater } from '../../../formats/kernels/inflate.ts';
import { OUTPUT_BYTES, WINDOW_BYTES } from '../../../formats/kernels/inflate-machine.ts';
import { everyMatch, longestCodes } from '../../../formats/kernels/testing/edge-streams.ts';
import { mutateBytes } from '../mutate-bytes.ts';
import type { FuzzRandom } from '../random.ts';
import { demand, type FuzzTarget } from '../target.ts';

/** Output that a case may have; a small input can inflate a thousandfold. */
const MAX_OUTPUT = 8 << 20;
const HEADER = 10;
/** The least there is; files of several spans are among the sound ones. */
const SPAN = 65_536;

/** Single-member files of all block types, and one of two members. */
export function soundGzips(): Uint8Array[] {
  const contents = [Buffer.from(demoText(1, 9000)), demoBinary(2, 6000), Buffer.alloc(20_000), Buffer.from('a')];
  const long = Buffer.concat([Buffer.from(demoText(4, 120_000)), demoBinary(5, 90_000)]);
  const one = (content: Uint8Array, options: object) => new Uint8Array(gzipSync(content, options));
  return [
    ...contents.flatMap((content) => [0, 1, 9].map((level) => one(content, { level }))),
    one(long, { memLevel: 2 }),
    one(contents[0]!, { strategy: 4 }),
    one(contents[1]!, { strategy: 2, memLevel: 1 }),
    new Uint8Array(Buffer.concat([one(contents[0]!, {}), one(contents[1]!, {})])),
    // Matches at the edges of what the kernel copies at once, of its window, and of the megabyte that it makes at a time.
    ...[everyMatch(WINDOW_BYTES, [1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 33, WINDOW_BYTES], 9), longestCodes()].map(member),
    one(Buffer.concat([Buffer.alloc(OUTPUT_BYTES - 100), contents[1]!]), {}),
  ];
}

/** A member around a deflate stream. */
function member(deflated: Uint8Array): Uint8Array {
  return mended(Uint8Array.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, ...deflated, ...new Uint8Array(8)]));
}

/** Appends the checksum and length of the changed deflate stream's output. */
function mended(bytes: Uint8Array): Uint8Array {
  const body = bytes.subarray(HEADER, -8);
  try {
    const content = inflateRawSync(body, { maxOutputLength: MAX_OUTPUT });
    const out = bytes.slice();
    const view = new DataView(out.buffer, out.byteOffset + out.length - 8, 8);
    view.setUint32(0, crc32(content), true);
    view.setUint32(4, content.length, true);
    return out;
  } catch (error) {
    // The deflate stream itself is broken: there is nothing to mend, and the case is one of those.
    if (error instanceof Error) return bytes;
    throw error;
  }
}

function byAccel(bytes: Uint8Array, span: number, random: FuzzRandom): { content: Buffer; summary: GzipSummary } {
  const pieces: Buffer[] = [];
  const stream = new GzipStream({
    span,
    members: 'any',
    machine: new Inflater(),
    onOutput: (piece) => pieces.push(Buffer.from(piece)),
  });
  const step = random.oneIn(2) ? bytes.length : 1 + random.below(3000);
  for (let at = 0; at < bytes.length; at += step) stream.push(bytes.slice(at, at + step));
  return { summary: stream.finish(), content: Buffer.concat(pieces) };
}

function byZlib(bytes: Uint8Array): Buffer | undefined {
  try {
    return gunzipSync(bytes, { maxOutputLength: 64 << 20 });
  } catch (error) {
    if (error instanceof Error) return undefined;
    throw error;
  }
}

async function readThroughIndex(bytes: Uint8Array, content: Buffer, summary: GzipSummary, random: FuzzRandom) {
  const index = decodeGzipIndex(encodeGzipIndex(summary));
  const reader = new GzipIndexReader(index);
  for (let i = 0; i < 3; i++) {
    const at = random.below(content.length);
    const piece = await reader.readAt(at, 1 + random.below(5000), async (from, to) => bytes.subarray(from, to));
    demand(content.subarray(at, at + piece.length).equals(piece), `another content at ${at} through the index`);
  }
}

/** The gzip reader takes what zlib takes, and only that. */
export const gzipTarget: FuzzTarget = {
  name: 'gzip',
  codes: ['gzip-invalid'],
  cases: 700,
  async open() {
    const sound = soundGzips();
    const raw = new Uint8Array(deflateRawSync(demoText(3, 4000)));
    return {
      make(random) {
        const original = random.pick(sound);
        const bytes = mutateBytes(original, random, { fields: [2, 3, 8, HEADER, HEADER + 1, original.length - 8] });
        // Now and then the deflate data of another file, so that trees and windows meet what they were not made for.
        if (random.oneIn(8) && bytes.length > 40)
          bytes.set(raw.subarray(0, bytes.length - 40), HEADER + random.below(20));
        return random.oneIn(3) ? { bytes, mended: false } : { bytes: mended(bytes), mended: true };
      },
      async check({ bytes }, random) {
        const expected = byZlib(bytes);
        let result: ReturnType<typeof byAccel>;
        try {
          result = byAccel(bytes, SPAN, random);
        } catch (error) {
          if (!(error instanceof AccelError) || expected === undefined) throw error;
          // node:zlib ignores bytes after the last member; accel does not.
          demand(
            /behind the gzip data|breaks off/.test(error.message),
            `zlib takes what accel refuses: ${error.message}`,
          );
          throw error;
        }
        demand(expected !== undefined, 'accel takes what zlib refuses');
        demand(expected.equals(result.content), 'accel and zlib read different content');
        if (result.summary.members === 1) await readThroughIndex(bytes, result.content, result.summary, random);
      },
    };
  },
};
