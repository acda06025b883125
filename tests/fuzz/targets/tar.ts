/** Damaged tar archives of every dialect. */
import { AccelError } from '../../../base/error.ts';
import { collectTar } from '../../../fixtures/collect-tar.ts';
import { TarBuilder } from '../../../fixtures/tar-builder.ts';
import { ustarHeader } from '../../../formats/tar/layout.ts';
import { mutateBytes } from '../mutate-bytes.ts';
import type { FuzzRandom } from '../random.ts';
import { demand, type FuzzTarget } from '../target.ts';

const TYPES = Buffer.from('01234567xgLKSVDX\0');
const { chksum: CHECKSUM_AT, magic: MAGIC_AT, typeflag: TYPE_AT } = ustarHeader.offsets;

/** Archives with an entry of each kind, and each of the ways to write names, numbers and sparse maps. */
export function soundTars(): Uint8Array[] {
  const octal = (value: number) => `${value.toString(8).padStart(11, '0')}\0`;
  const gnuSparse = { 386: octal(0) + octal(3) + octal(9) + octal(2) + octal(20) + octal(0), 483: octal(20) };
  const pax = { 'GNU.sparse.major': '1', 'GNU.sparse.minor': '0', 'GNU.sparse.name': 's', 'GNU.sparse.realsize': '20' };
  return [
    new TarBuilder()
      .file('a', 'x'.repeat(600))
      .dir('d/')
      .symlink('s', 't')
      .link('l', 'a')
      .device('c', 'block', 1, 2)
      .build(),
    new TarBuilder({ mtime: '1.5' })
      .file('a'.repeat(150), 'y', { uid: 3_000_000, xattrs: { 'user.a': 'value', 'user.b': Uint8Array.of(0, 1) } })
      .pax({ uid: '5', 'SCHILY.xattr.user.g': 'g' }, true)
      .symlink('s', 't'.repeat(120))
      .build(),
    new TarBuilder()
      .gnuLong('L', 'n'.repeat(300))
      .gnuLong('K', 'k'.repeat(200))
      .symlink('x', 'y')
      .file('z', 'z')
      .build(),
    new TarBuilder()
      .headerWithBody({ name: 's', typeflag: 'S', magic: 'ustar  \0', patch: gnuSparse }, 'abcde')
      .headerWithBody({ name: 'e', typeflag: 'S', magic: 'ustar  \0', patch: { 482: '\x01', 483: octal(9) } }, '')
      .raw(Buffer.alloc(512))
      .build(),
    new TarBuilder()
      .file('one', `${'2\n0\n3\n9\n2\n'.padEnd(512, '\0')}abcde`, { pax })
      .file('zero', 'abc', {
        pax: { 'GNU.sparse.map': '0,1,5,2', 'GNU.sparse.size': '9', 'GNU.sparse.numblocks': '2' },
      })
      .build({ end: false }),
  ];
}

/** A damaged copy; now and then an entry changes its type. */
export function damagedTar(tar: Uint8Array, random: FuzzRandom): Uint8Array {
  const out = mutateBytes(tar, random);
  if (random.oneIn(4)) out[(random.below(out.length) & ~511) + TYPE_AT] = random.pick([...TYPES]);
  return out;
}

/** Makes the checksums of all blocks that could be headers right, so that damage gets past them. */
export function mendTar(tar: Uint8Array): void {
  for (let at = 0; at + 512 <= tar.length; at += 512) {
    if (tar[at + MAGIC_AT] !== 0x75) continue;
    tar.fill(0x20, at + CHECKSUM_AT, at + CHECKSUM_AT + 8);
    const sum = tar.subarray(at, at + 512).reduce((a, b) => a + b, 0);
    tar.set(Buffer.from(`${sum.toString(8).padStart(6, '0')}\0 `), at + CHECKSUM_AT);
  }
}

function verdict(tar: Uint8Array, chunk: number): unknown {
  try {
    return collectTar(tar, chunk);
  } catch (error) {
    if (!(error instanceof AccelError)) throw error;
    demand('tarOffset' in error.where, `an error without its place: ${error.message}`);
    return error;
  }
}

function asText(value: unknown): string {
  if (!(value instanceof AccelError)) return JSON.stringify(value, (_, v) => (v instanceof Map ? [...v] : v));
  const { message, where, expected, found } = value;
  return JSON.stringify({ message, where, expected, found });
}

/** The layer parser: the same verdict at the same place, in whatever pieces the bytes arrive. */
export const tarTarget: FuzzTarget = {
  name: 'tar',
  codes: ['tar-invalid', 'limit-exceeded'],
  cases: 6000,
  async open() {
    const sound = soundTars();
    return {
      make(random) {
        if (random.oneIn(50)) return { bytes: Uint8Array.from({ length: 1024 }, () => random.u32()), mended: false };
        const bytes = damagedTar(random.pick(sound), random);
        const mended = !random.oneIn(3);
        if (mended) mendTar(bytes);
        return { bytes, mended };
      },
      check({ bytes }, random) {
        const whole = verdict(bytes, 1 << 20);
        if (random.oneIn(4)) {
          const pieces = verdict(bytes, 1 + random.below(700));
          demand(asText(pieces) === asText(whole), `in pieces: ${asText(pieces)}, at once: ${asText(whole)}`);
        }
        if (whole instanceof AccelError) throw whole;
      },
    };
  },
};
