/** The tar in front of a full layer's ZFile. */
import { COMMIT_TAR_HEAD_SIZE, commitTarHead, parseCommitTarHead } from '../../../formats/zfile/commit-tar.ts';
import { mutateBytes } from '../mutate-bytes.ts';
import { demand, type FuzzTarget } from '../target.ts';
import { mendTar } from './tar.ts';

/** Its reader: a ZFile's place and size, or nothing. */
export const commitTarTarget: FuzzTarget = {
  name: 'commit-tar',
  codes: ['tar-invalid'],
  cases: 3000,
  async open() {
    const sound = [0, 4096, 123_456_789, 2 ** 40].map(commitTarHead);
    return {
      make(random) {
        const fields = [124, 156, 512, 514, 520, 1024, 1148, 1180];
        const bytes = mutateBytes(random.pick(sound), random, { fields });
        const mended = !random.oneIn(3);
        if (mended) mendTar(bytes);
        return { bytes, mended };
      },
      check({ bytes }) {
        const { zfileOffset, zfileSize } = parseCommitTarHead(bytes);
        demand(zfileOffset === COMMIT_TAR_HEAD_SIZE, `a ZFile at ${zfileOffset}`);
        demand(Number.isSafeInteger(zfileSize) && zfileSize >= 0, `a ZFile of ${zfileSize} bytes`);
      },
    };
  },
};
