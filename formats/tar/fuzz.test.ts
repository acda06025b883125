/** Damaged archives: the parser answers with entries or with its own error, and soon, whatever the bytes are. */
import { expect, test } from 'vitest';
import { AccelError } from '../../base/error.ts';
import { collectTar } from '../../fixtures/collect-tar.ts';
import { randomNumbers } from '../../fixtures/demo-content.ts';
import { TarBuilder } from '../../fixtures/tar-builder.ts';

const ROUNDS = 6000;
/** An archive this small is parsed in well under a millisecond; the rest is for a busy machine. */
const LONGEST_MS = 2000;

function seeds(): Uint8Array[] {
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

function mutate(tar: Uint8Array, next: () => number): Uint8Array {
  let out = tar.slice();
  const at = () => next() % out.length;
  for (let i = 1 + (next() % 4); i > 0; i--) {
    switch (next() % 8) {
      case 0:
        out[at()]! ^= 1 << (next() % 8);
        break;
      case 1:
        out[at()] = next();
        break;
      case 2:
        // Digits, separators and edges of number forms hit where the parser reads.
        out[at()] = [0x30, 0x37, 0x39, 0x20, 0x0a, 0x3d, 0x2d, 0x80, 0xff, 0][next() % 10]!;
        break;
      case 3:
        out = out.slice(0, at() + 1);
        break;
      case 4: {
        const from = at() & ~511;
        out.copyWithin(at() & ~511, from, from + 512);
        break;
      }
      case 5:
        out.fill(next(), at(), at());
        break;
      case 6:
        out[(at() & ~511) + 156] = [...'01234567xgLKSVDX\0'][next() % 17]!.charCodeAt(0);
        break;
      default: {
        const from = at();
        out = new Uint8Array(Buffer.concat([out.subarray(0, from), out.subarray(at())]));
        if (out.length === 0) out = new Uint8Array(1);
      }
    }
  }
  return out;
}

/** Makes the checksums of all blocks that could be headers right, so that a mutation gets past them. */
function repair(tar: Uint8Array): void {
  for (let at = 0; at + 512 <= tar.length; at += 512) {
    if (tar[at + 257] !== 0x75) continue;
    tar.fill(0x20, at + 148, at + 156);
    const sum = tar.subarray(at, at + 512).reduce((a, b) => a + b, 0);
    tar.set(Buffer.from(`${sum.toString(8).padStart(6, '0')}\0 `), at + 148);
  }
}

function outcome(tar: Uint8Array, chunk: number): unknown {
  try {
    return collectTar(tar, chunk);
  } catch (error) {
    if (!(error instanceof AccelError)) throw error;
    expect(['tar-invalid', 'limit-exceeded']).toContain(error.code);
    expect(error.where).toHaveProperty('tarOffset');
    return { message: error.message, where: error.where, expected: error.expected, found: error.found };
  }
}

test(`${ROUNDS} damaged archives`, () => {
  const next = randomNumbers(20261122);
  const originals = seeds();
  let accepted = 0;
  let slowest = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const tar = mutate(originals[round % originals.length]!, next);
    if (next() % 3 !== 0) repair(tar);
    const begin = performance.now();
    const result = outcome(tar, 1 << 20);
    slowest = Math.max(slowest, performance.now() - begin);
    if (Array.isArray(result)) accepted++;
    // The same verdict at the same place, however the bytes arrive.
    if (round % 5 === 0) expect(outcome(tar, 1 + (next() % 700)), `round ${round}`).toEqual(result);
  }
  // Both sides of the fence were visited.
  expect(accepted).toBeGreaterThan(ROUNDS / 20);
  expect(accepted).toBeLessThan((ROUNDS * 19) / 20);
  expect(slowest).toBeLessThan(LONGEST_MS);
});

test('noise', () => {
  const next = randomNumbers(7);
  for (let round = 0; round < 500; round++) {
    const tar = Uint8Array.from({ length: 512 * (1 + (next() % 4)) }, () => next());
    expect(outcome(tar, 4096)).not.toBeInstanceOf(Array);
  }
});
