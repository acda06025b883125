import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { AccelError } from '../../base/error.ts';
import { type CollectedEntry, collectTar, contentOf } from '../../fixtures/collect-tar.ts';
import { TarBuilder } from '../../fixtures/tar-builder.ts';
import { base256, type HeaderFields } from '../../fixtures/tar-header.ts';
import { TarParser } from './parser.ts';

const only = (tar: TarBuilder): CollectedEntry => {
  const entries = collectTar(tar.build());
  expect(entries).toHaveLength(1);
  return entries[0]!;
};
const names = (bytes: Uint8Array) => collectTar(bytes).map((entry) => entry.name);
const failure = (bytes: Uint8Array, limits = {}): AccelError => {
  try {
    collectTar(bytes, 1 << 20, limits);
  } catch (error) {
    if (error instanceof AccelError) return error;
    throw error;
  }
  throw new Error('the archive was accepted');
};
const latin1 = (text: string) => Buffer.from(text, 'latin1');

describe('types', () => {
  test('every type, with what only it has', () => {
    const tar = new TarBuilder({ mtime: '5' })
      .file('f', 'data', { uid: 1, gid: 2, mode: 0o4755 })
      .link('l', 'f')
      .symlink('s', '../x//y')
      .device('c', 'character', 4, 300)
      .device('b', 'block', 7, 1)
      .dir('d/')
      .fifo('p');
    expect(
      collectTar(tar.build()).map((e) => [e.name, e.type, e.mode, e.linkName, e.devMajor, e.devMinor, e.size]),
    ).toEqual([
      ['f', 'file', 0o4755, '', 0, 0, 4],
      ['l', 'link', 0o644, 'f', 0, 0, 0],
      ['s', 'symlink', 0o777, '../x//y', 0, 0, 0],
      ['c', 'character', 0o600, '', 4, 300, 0],
      ['b', 'block', 0o600, '', 7, 1, 0],
      ['d/', 'directory', 0o755, '', 0, 0, 0],
      ['p', 'fifo', 0o644, '', 0, 0, 0],
    ]);
  });

  test('offsets of header and data', () => {
    const tar = new TarBuilder().file('a', 'x'.repeat(513)).file('b', 'y', { mtime: '1.5' }).dir('c/');
    expect(collectTar(tar.build()).map((e) => [e.headerOffset, e.dataOffset])).toEqual([
      [0, 512],
      [1536, 3072],
      [3584, 4096],
    ]);
  });

  const flags: Record<string, [Partial<HeaderFields>, string]> = {
    nul_is_file: [{ typeflag: '\0', name: 'a' }, 'file'],
    nul_with_slash_is_directory: [{ typeflag: '\0', name: 'a/' }, 'directory'],
    zero_with_slash_is_file: [{ typeflag: '0', name: 'a/' }, 'file'],
    seven_is_file: [{ typeflag: '7', name: 'a' }, 'file'],
    v7_directory: [{ typeflag: '\0', name: 'a/', magic: '' }, 'directory'],
  };
  for (const [name, [fields, type]] of Object.entries(flags)) {
    test(name, () => expect(only(new TarBuilder().header(fields)).type).toBe(type));
  }

  for (const typeflag of ['1', '2', '3', '4', '5', '6']) {
    test(`type ${typeflag} has no data whatever its size says`, () => {
      const tar = new TarBuilder().header({ name: 'x', typeflag, linkname: 't', size: 5000 }).file('y', 'z');
      expect(names(tar.build())).toEqual(['x', 'y']);
    });
  }

  test('a dump directory is a directory, its name list is skipped', () => {
    const tar = new TarBuilder().headerWithBody({ name: 'd/', typeflag: 'D' }, 'Yfile\0\0'.repeat(200)).file('y', 'z');
    expect(collectTar(tar.build()).map((e) => [e.name, e.type, e.size])).toEqual([
      ['d/', 'directory', 0],
      ['y', 'file', 1],
    ]);
  });

  test('a volume label is skipped', () => {
    const tar = new TarBuilder().header({ name: 'backup of monday', typeflag: 'V' }).file('y', 'z');
    expect(names(tar.build())).toEqual(['y']);
  });

  for (const typeflag of ['M', 'N', 'A', 'Z', '8', '\xff']) {
    test(`type ${JSON.stringify(typeflag)} is refused by name`, () => {
      const error = failure(new TarBuilder().file('before').header({ name: 'odd', typeflag }).build());
      expect(error.code).toBe('tar-invalid');
      expect(error.where).toEqual({ tarOffset: 512, path: 'odd' });
    });
  }
});

describe('names', () => {
  const raw = latin1('caf\xe9-\x01');
  test('ustar prefix', () => expect(only(new TarBuilder().header({ name: 'b', prefix: 'a/x' })).name).toBe('a/x/b'));
  test('ustar prefix of 155 and name of 100', () => {
    const entry = only(new TarBuilder().header({ name: 'n'.repeat(100), prefix: 'p'.repeat(155) }));
    expect(entry.name).toBe(`${'p'.repeat(155)}/${'n'.repeat(100)}`);
  });
  test('no prefix in GNU headers', () => {
    const patch = { 345: '00000000001\x0000000000002\0' };
    expect(only(new TarBuilder().header({ name: 'b', magic: 'ustar  \0', patch })).name).toBe('b');
  });
  test('the prefix that old Go wrote into GNU headers', () => {
    expect(only(new TarBuilder().header({ name: 'b', magic: 'ustar  \0', prefix: 'usr/lib' })).name).toBe('usr/lib/b');
  });
  test('no prefix in V7 headers', () => {
    expect(only(new TarBuilder().header({ name: 'b', magic: '', prefix: 'junk' })).name).toBe('b');
  });
  test('star prefix of 131', () => {
    const patch = { 345: 'p'.repeat(131), 476: '00000000001 00000000001 ', 508: 'tar\0' };
    expect(only(new TarBuilder().header({ name: 'b', patch })).name).toBe(`${'p'.repeat(131)}/b`);
  });
  test('bytes that are not UTF-8', () => expect(only(new TarBuilder().file(raw)).name).toBe('caf\xe9-\x01'));
  test('GNU long name and link', () => {
    const long = Buffer.concat([raw, latin1('/'.padEnd(5000, 'x'))]);
    const tar = new TarBuilder().gnuLong('K', long).gnuLong('L', long).symlink('short', 'short');
    const entry = only(tar);
    expect(entry.name).toBe(long.toString('latin1'));
    expect(entry.linkName).toBe(long.toString('latin1'));
    expect(entry.headerOffset).toBe(0);
  });
  test('GNU long name without a NUL', () => {
    const tar = new TarBuilder().headerWithBody({ name: 'L', typeflag: 'L' }, 'abc').file('x');
    expect(only(tar).name).toBe('abc');
  });
  test('PAX path and linkpath with any bytes', () => {
    const tar = new TarBuilder().pax({ path: raw, linkpath: latin1('\xff=\n') }).link('x', 'y');
    expect(only(tar)).toMatchObject({ name: 'caf\xe9-\x01', linkName: '\xff=\n' });
  });
  test('PAX path over a prefix', () => {
    expect(only(new TarBuilder().pax({ path: 'p' }).header({ name: 'n', prefix: 'x' })).name).toBe('p');
  });
  test('names are not normalised', () => expect(only(new TarBuilder().dir('.//a/../b/./')).name).toBe('.//a/../b/./'));
  test('no name', () => expect(failure(new TarBuilder().header({}).build()).message).toBe('an entry has no name'));
  test('NUL in a PAX path', () => {
    expect(
      failure(
        new TarBuilder()
          .pax({ path: latin1('a\0b') })
          .file('x')
          .build(),
      ).message,
    ).toMatch(/holds a NUL/);
  });
  test('link without a target', () => {
    expect(failure(new TarBuilder().link('x', '').build()).message).toBe('a link has no target');
  });
});

describe('numbers', () => {
  test('ids of 2^21 and 2^32-1 by base-256', () => {
    const header = { uid: base256(2 ** 21, 8), gid: base256(2 ** 32 - 1, 8) };
    expect(only(new TarBuilder().file('x', '', { header }))).toMatchObject({ uid: 2 ** 21, gid: 2 ** 32 - 1 });
  });
  test('ids by PAX', () => {
    expect(only(new TarBuilder().file('x', '', { uid: 3_000_000, gid: 4_294_967_295 }))).toMatchObject({
      uid: 3_000_000,
      gid: 4_294_967_295,
    });
  });
  for (const field of ['uid', 'gid'] as const) {
    test(`${field} of 2^32 is refused`, () => {
      expect(
        failure(
          new TarBuilder()
            .pax({ [field]: '4294967296' })
            .file('x')
            .build(),
        ).found,
      ).toBe(2 ** 32);
      expect(failure(new TarBuilder().file('x', '', { header: { [field]: base256(-1, 8) } }).build()).found).toBe(-1);
    });
  }
  test('mtime before 1970 by base-256', () => {
    expect(only(new TarBuilder().file('x', '', { header: { mtime: base256(-5, 12) } })).mtime).toEqual({
      seconds: -5,
      nanoseconds: 0,
    });
  });
  test('mtime by PAX, as text and apart', () => {
    expect(only(new TarBuilder().file('x', '', { mtime: '-1.5' })).mtime).toEqual({ seconds: -2, nanoseconds: 5e8 });
    for (const mtime of [
      { seconds: -1, nanoseconds: 1 },
      { seconds: -7, nanoseconds: 999_999_999 },
      { seconds: 2 ** 40, nanoseconds: 3 },
    ]) {
      expect(only(new TarBuilder().file('x', '', { mtime })).mtime).toEqual(mtime);
    }
  });
  test('file type bits above the mode are dropped', () => {
    expect(only(new TarBuilder().file('x', '', { mode: 0o104755 })).mode).toBe(0o4755);
  });
  test('PAX size over the header', () => {
    const tar = new TarBuilder()
      .pax({ size: '3' })
      .header({ name: 'x', size: 0 })
      .raw(latin1('abc'.padEnd(512, '\0')));
    expect(only(tar).data.toString()).toBe('abc');
  });
  test('a negative size is refused', () => {
    expect(failure(new TarBuilder().header({ name: 'x', size: base256(-512, 12) }).build()).message).toMatch(
      /negative/,
    );
  });
  test('a size past the limit is refused', () => {
    const tar = new TarBuilder().header({ name: 'big', size: base256(2 ** 44 + 1, 12) }).build();
    expect(failure(tar)).toMatchObject({ code: 'limit-exceeded', where: { tarOffset: 0, path: 'big' } });
  });
  test('a size past the limit on a type without data is nothing', () => {
    const size = base256(2 ** 44 + 1, 12);
    expect(only(new TarBuilder().header({ name: 'd/', typeflag: '5', size })).size).toBe(0);
  });
  test('device numbers are read for devices alone', () => {
    const junk = latin1('junkjunk');
    expect(only(new TarBuilder().file('x', '', { header: { devmajor: junk, devminor: junk } })).devMajor).toBe(0);
    expect(
      failure(new TarBuilder().device('x', 'block', 1, 1, { header: { devmajor: junk } }).build()).message,
    ).toMatch(/devmajor/);
  });
});

describe('checksum', () => {
  test('signed sums of old writers', () => {
    expect(names(new TarBuilder().header({ name: latin1('\xe9\xff'), signedChecksum: true }).build())).toEqual([
      '\xe9\xff',
    ]);
  });
  test('a wrong one is reported with its place, the expected and the found value', () => {
    const tar = new TarBuilder().file('a', 'data').header({ name: 'b', badChecksum: true }).build();
    const error = failure(tar);
    expect(error).toMatchObject({ code: 'tar-invalid', where: { tarOffset: 1024 } });
    expect(Number(error.found) - Number(error.expected)).toBe(1);
  });
  test('every flipped bit of a header is noticed', () => {
    const tar = new TarBuilder().file('name', '').build();
    for (let bit = 0; bit < 512 * 8; bit++) {
      const damaged = tar.slice();
      damaged[bit >> 3]! ^= 1 << (bit & 7);
      // A digit of the checksum may turn into a space or a NUL, and the spaces and NULs around it into others.
      const byte = bit >> 3;
      if (byte >= 148 && byte < 156 && (damaged[byte]! < 0x30 || damaged[byte]! > 0x37 || byte > 153)) continue;
      expect(() => collectTar(damaged), `bit ${bit}`).toThrow(AccelError);
    }
  });
});

describe('PAX scope', () => {
  test('global records count for nothing, and the handler learns of those that would', () => {
    const tar = new TarBuilder({ mtime: '7' })
      .pax({ comment: 'what git archive writes' }, true)
      .pax({ path: 'p', uid: '10', mtime: '1.5', 'SCHILY.xattr.user.g': 'global', comment: 'ignored' }, true)
      .file('a')
      .file('b', '', { pax: { uid: '11', 'SCHILY.xattr.user.l': 'x' } })
      .build();
    const seen = collectTar(tar).map((e) => [e.name, e.uid, e.mtime.seconds, [...e.xattrs.keys()].join()]);
    expect(seen).toEqual([
      ['a', 0, 7, ''],
      ['b', 11, 7, 'user.l'],
    ]);
    const ignored: string[][] = [];
    const handler = { entry: () => undefined, data: () => undefined, entryEnd: () => undefined };
    const parser = new TarParser({ ...handler, ignoredRecords: (keys) => ignored.push([...keys]) });
    parser.push(tar);
    parser.end();
    expect(ignored).toEqual([['path', 'uid', 'mtime', 'SCHILY.xattr.user.g']]);
  });
  test('a local header counts for one entry', () => {
    expect(names(new TarBuilder().pax({ path: 'p' }).file('a').file('b').build())).toEqual(['p', 'b']);
  });
  test('of two local headers the later counts', () => {
    expect(names(new TarBuilder().pax({ path: 'p', uid: '1' }).pax({ path: 'q' }).file('a').build())).toEqual(['q']);
  });
  test('X is x', () => {
    expect(
      names(new TarBuilder().headerWithBody({ name: 'h', typeflag: 'X' }, '10 path=p\n').file('a').build()),
    ).toEqual(['p']);
  });
  test('a global header between does not detach a local one', () => {
    const entry = only(new TarBuilder().pax({ path: 'p' }).pax({ uid: '1' }, true).file('a'));
    expect(entry).toMatchObject({ name: 'p', uid: 0, headerOffset: 0 });
  });
  test('binary attribute values', () => {
    const value = Uint8Array.from({ length: 256 }, (_, i) => i);
    const entry = only(new TarBuilder().file('a', '', { xattrs: { 'security.capability': value, 'user.empty': '' } }));
    expect([...entry.xattrs]).toEqual([
      ['security.capability', value],
      ['user.empty', new Uint8Array(0)],
    ]);
  });
});

describe('the end', () => {
  const content = new TarBuilder().file('a', 'data');
  test('two zero blocks', () => expect(names(content.build())).toEqual(['a']));
  test('one zero block', () =>
    expect(names(Buffer.concat([content.build({ end: false }), Buffer.alloc(512)]))).toEqual(['a']));
  test('one zero block and a part of another', () =>
    expect(names(Buffer.concat([content.build({ end: false }), Buffer.alloc(700)]))).toEqual(['a']));
  test.each([
    ['an entry', content.build()],
    ['a few bytes', latin1('x')],
  ])('one zero block before %s, which other tools would leave out or refuse', (_, rest) => {
    const error = failure(Buffer.concat([content.build({ end: false }), Buffer.alloc(512), rest]));
    expect(error).toMatchObject({ code: 'tar-invalid', where: { tarOffset: 1024 } });
    expect(error.message).toMatch(/single zero block/);
  });
  test('none', () => expect(names(content.build({ end: false }))).toEqual(['a']));
  for (const length of [516, 517, 1023]) {
    test(`padding behind the last file up to byte ${length}`, () => {
      expect(names(content.build({ end: false }).subarray(0, length))).toEqual(['a']);
    });
  }
  test('a name list of a dump directory that is cut off', () => {
    const tar = new TarBuilder().headerWithBody({ name: 'd/', typeflag: 'D' }, 'Yfile\0\0').build({ end: false });
    expect(names(tar.subarray(0, 519))).toEqual(['d/']);
    expect(failure(tar.subarray(0, 518)).expected).toBe('506 more bytes up to the next header');
  });
  test('an empty archive', () => expect(names(new Uint8Array(1024))).toEqual([]));
  test('no bytes', () => expect(names(new Uint8Array(0))).toEqual([]));
  test('anything behind the end is ignored and counted', () => {
    expect(names(Buffer.concat([content.build(), latin1('trailing garbage'), content.build()]))).toEqual(['a']);
  });

  const complete = new TarBuilder().file('a', 'x'.repeat(700)).file('b', 'y', { mtime: '1.5' }).build({ end: false });
  for (const [name, length, expected] of [
    ['in the first header', 100, 'a whole block of 512 bytes'],
    ['before the data', 512, '700 more bytes of data'],
    ['in the data', 1000, '212 more bytes of data'],
    ['in an extension header', 2050, '11 more bytes of an extension header'],
    ['behind an extension header', 2560, 'the entry that an extension header announced'],
    ['before the last byte of data', 3072, '1 more bytes of data'],
  ] as const) {
    test(`cut off ${name}`, () => {
      const error = failure(complete.subarray(0, length));
      expect(error).toMatchObject({ code: 'tar-invalid', message: 'the tar archive is cut off', expected });
      expect(error.found).toBe(`the end of the layer at byte ${length}`);
    });
  }
  test('an extension header before the end of the archive', () => {
    expect(failure(new TarBuilder().pax({ path: 'x' }).build()).message).toMatch(/no entry after it/);
  });
  test('a parser that failed takes no more', () => {
    const parser = new TarParser({ entry() {}, data() {}, entryEnd() {} });
    expect(() => parser.push(new Uint8Array(512).fill(1))).toThrow(AccelError);
    expect(() => parser.push(new Uint8Array(512))).toThrow(/after an error/);
    expect(() => parser.end()).toThrow(/after an error/);
  });
  test('what the handler throws passes through', () => {
    const cause = new Error('mine');
    const parser = new TarParser({
      entry() {
        throw cause;
      },
      data() {},
      entryEnd() {},
    });
    expect(() => parser.push(content.build())).toThrow(cause);
  });
});

describe('limits', () => {
  const text = (size: number) => 'x'.repeat(size);
  test('extension header of 1 MiB and one byte more', () => {
    const record = (size: number) => ({ comment: text(size - '1048576 comment=\n'.length) });
    expect(
      names(
        new TarBuilder()
          .pax(record(1 << 20))
          .file('a')
          .build(),
      ),
    ).toEqual(['a']);
    const error = failure(
      new TarBuilder()
        .pax(record((1 << 20) + 1))
        .file('a')
        .build(),
    );
    expect(error).toMatchObject({ code: 'limit-exceeded', found: (1 << 20) + 1 });
  });
  test('an extension header that announces 8 EiB', () => {
    const size = Buffer.from('800000000000000000000000', 'hex');
    size[4] = 0x10;
    expect(failure(new TarBuilder().header({ name: 'x', typeflag: 'L', size }).build()).message).toMatch(
      /out of range/,
    );
  });
  test('messages hold no control characters', () => {
    const error = failure(new TarBuilder().header({ name: latin1('\x1b[2J\xc2\x9b\xe9'), typeflag: 'Z' }).build());
    expect(error.where.path).toBe('\\x1b[2J\\x9b\ufffd');
  });
});

test('the result does not depend on the chunks', () => {
  const bytes = fc.uint8Array({ minLength: 1, maxLength: 120 }).map((b) => b.map((x) => x || 1));
  const options = fc.record({
    uid: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
    mtime: fc.record({ seconds: fc.integer(), nanoseconds: fc.integer({ min: 0, max: 999_999_999 }) }),
    xattrs: fc.dictionary(fc.stringMatching(/^user\.[a-z]{1,5}$/), fc.uint8Array({ maxLength: 50 }), { maxKeys: 3 }),
  });
  const step = fc.oneof(
    fc.tuple(bytes, fc.uint8Array({ maxLength: 2000 }), options).map(
      ([n, d, o]) =>
        (t: TarBuilder) =>
          t.file(n, d, o),
    ),
    fc.tuple(bytes, bytes, options).map(
      ([n, l, o]) =>
        (t: TarBuilder) =>
          t.symlink(n, l, o),
    ),
    fc.tuple(bytes, options).map(
      ([n, o]) =>
        (t: TarBuilder) =>
          t.dir(n, o),
    ),
    bytes.map((n) => (t: TarBuilder) => t.gnuLong('L', n).file('short', 'data')),
    fc.integer({ min: 0, max: 9 }).map((uid) => (t: TarBuilder) => t.pax({ uid: String(uid) }, true)),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 8 }), fc.integer({ min: 1, max: 1500 }), (steps, chunk) => {
      const tar = new TarBuilder();
      for (const apply of steps) apply(tar);
      const whole = collectTar(tar.build());
      expect(collectTar(tar.build(), chunk)).toEqual(whole);
      for (const entry of whole) {
        if (entry.type !== 'file') continue;
        expect(tar.build().subarray(entry.dataOffset, entry.dataOffset + entry.packedSize)).toEqual(
          new Uint8Array(contentOf(entry)),
        );
      }
    }),
    { numRuns: 150 },
  );
});
