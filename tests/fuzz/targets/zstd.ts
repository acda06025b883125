/** Damaged zstd streams, compared with libzstd. */
import { Zstd } from '@hpcc-js/wasm-zstd';
import { demoBinary, demoText } from '../../../fixtures/demo-content.ts';
import { zstdDecompressStream } from '../../../formats/zstd/stream.ts';
import { mutateBytes } from '../mutate-bytes.ts';
import { demand, type FuzzTarget } from '../target.ts';

/** Output that a case may have. */
const MAX_OUTPUT = 16 << 20;
/** A skippable frame of five bytes. */
const SKIPPABLE = Uint8Array.of(0x50, 0x2a, 0x4d, 0x18, 5, 0, 0, 0, 1, 2, 3, 4, 5);
/** A frame without a stated size, with a checksum: `zstd --check` made it of nine times "accel" on a line. */
const CHECKED = Buffer.from('KLUv/QRYbQAAOGFjY2VsIAoBACQqRY52GOs=', 'base64');

async function* pieces(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.slice(at, at + size);
}

/** The zstd reader. */
export const zstdTarget: FuzzTarget = {
  name: 'zstd',
  codes: ['zstd-invalid'],
  cases: 600,
  async open() {
    const zstd = await Zstd.load();
    const frames = [Buffer.from(demoText(1, 9000)), demoBinary(2, 6000), Buffer.alloc(300_000), Buffer.from('a')].map(
      (content) => ({ content, bytes: new Uint8Array(zstd.compress(content, 3)) }),
    );
    const sound = [
      ...frames.map(({ bytes }) => bytes),
      new Uint8Array(Buffer.concat([SKIPPABLE, frames[0]!.bytes, frames[1]!.bytes])),
      new Uint8Array(CHECKED),
    ];
    return {
      make(random) {
        const bytes = mutateBytes(random.pick(sound), random, { fields: [0, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14] });
        return { bytes, mended: false };
      },
      async check({ bytes }, random) {
        const read = async (size: number): Promise<Buffer> => {
          const out: Uint8Array[] = [];
          let length = 0;
          for await (const piece of zstdDecompressStream(pieces(bytes, size))) {
            length += piece.length;
            demand(length <= MAX_OUTPUT, `more than ${MAX_OUTPUT} bytes from ${bytes.length}`);
            out.push(piece.slice());
          }
          return Buffer.concat(out);
        };
        const whole = await read(1 << 20);
        if (!random.oneIn(3)) return;
        const again = await read(1 + random.below(900));
        demand(whole.equals(again), 'in pieces the content is another');
      },
    };
  },
};
