/** Damaged index-only layers: the gzip-compressed tar of their three files. */
import { gunzipSync, gzipSync } from 'node:zlib';
import { demoBinary } from '../../../fixtures/demo-content.ts';
import { packTurboLayer, unpackTurboLayer } from '../../../formats/turbo/turbo-layer.ts';
import { mutateBytes } from '../mutate-bytes.ts';
import { demand, type FuzzTarget } from '../target.ts';
import { damagedTar, mendTar } from './tar.ts';

const MAX_UNPACKED = 4 << 20;

/** The parsers of an index-only layer's blob. */
export const turboTarget: FuzzTarget = {
  name: 'turbo',
  codes: ['turbo-invalid', 'limit-exceeded'],
  cases: 600,
  async open() {
    const parts = { fsMeta: demoBinary(1, 3000), gzipIndex: demoBinary(2, 700) };
    const { blob } = await packTurboLayer(parts);
    const tar = new Uint8Array(gunzipSync(blob));
    const bomb = new Uint8Array(gzipSync(new Uint8Array(64 << 20)));
    return {
      make(random) {
        if (random.oneIn(200)) return { bytes: bomb, mended: true };
        if (random.oneIn(3)) return { bytes: mutateBytes(blob, random), mended: false };
        const damaged = damagedTar(tar, random);
        if (!random.oneIn(3)) mendTar(damaged);
        return { bytes: new Uint8Array(gzipSync(damaged, { level: 1 })), mended: true };
      },
      async check({ bytes }) {
        const { fsMeta, gzipIndex } = await unpackTurboLayer(bytes, MAX_UNPACKED);
        demand(fsMeta.length + (gzipIndex?.length ?? 0) <= MAX_UNPACKED, 'more than the limit was unpacked');
      },
    };
  },
};
