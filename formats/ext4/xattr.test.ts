import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { TarBuilder } from '../../fixtures/tar-builder.ts';
import { expectedTree } from '../../tests/support/expected-tree.ts';
import { describeWith } from '../../tests/support/tools.ts';
import { diffTrees } from '../../tests/support/tree.ts';
import { decodeAcl, encodeAcl } from './acl-codec.ts';
import { INODE_SIZE, inodeStruct } from './layout.ts';
import { SMALL, withImage } from './testing/image-box.ts';
import { decodeXattrs, encodeXattrs } from './xattr.ts';

const tar = (): TarBuilder => new TarBuilder({ mtime: '1700000000' });
const where = { inode: 12 };
const NOTHING = new Uint8Array(INODE_SIZE - inodeStruct.size);

function throughCodec(xattrs: ReadonlyMap<string, Uint8Array>): Map<string, Uint8Array> {
  const { inline, block } = encodeXattrs(xattrs);
  return decodeXattrs(inline ?? NOTHING, block, where);
}

/** An ACL as user space has it: tag, permissions, id. */
function userAcl(...entries: readonly (readonly [tag: number, permissions: number, id?: number])[]): Uint8Array {
  const out = Buffer.alloc(4 + entries.length * 8);
  out.writeUInt32LE(2, 0);
  entries.forEach(([tag, permissions, id = 0xffff_ffff], i) => {
    out.writeUInt16LE(tag, 4 + i * 8);
    out.writeUInt16LE(permissions, 6 + i * 8);
    out.writeUInt32LE(id, 8 + i * 8);
  });
  return Uint8Array.from(out);
}

const ACCESS = userAcl([1, 7], [2, 5, 1000], [2, 7, 3_000_000], [4, 5], [8, 1, 70_000], [16, 7], [32, 0]);
const DEFAULT = userAcl([1, 7], [4, 5], [8, 4, 5], [16, 5], [32, 5]);

describe('POSIX ACLs', () => {
  test("are kept in ext4's own form: version 1, ids of named users and groups alone", () => {
    expect(Buffer.from(encodeAcl(DEFAULT)).toString('hex')).toBe(
      ['01000000', '01000700', '04000500', '0800040005000000', '10000500', '20000500'].join(''),
    );
    for (const acl of [ACCESS, DEFAULT, userAcl()]) expect(decodeAcl(encodeAcl(acl))).toEqual(acl);
  });

  test.each([
    ['empty', ''],
    ['version_1', '01000000'],
    ['version_3', '03000000'],
    ['half_an_entry', '0200000001000700'],
    ['unknown_tag', '0200000003000700ffffffff'],
  ])('%s is refused', (_, hex) => {
    expect(() => encodeAcl(Uint8Array.from(Buffer.from(hex, 'hex')))).toThrow(
      expect.objectContaining({ code: 'layer-unsupported' }),
    );
  });

  test.each(['', '01', '02000000', '0100000003000700', '010000000200070001', '0100000001000700ff'])(
    'stored bytes %s are refused',
    (hex) => {
      const stored = Uint8Array.from(Buffer.from(hex, 'hex'));
      expect(() => decodeAcl(stored)).toThrow(expect.objectContaining({ code: 'ext4-invalid' }));
    },
  );
});

describe('extended attributes', () => {
  // 96 bytes behind the inode's fields, less magic, terminator and an entry of 16 with its name of 4.
  test.each([
    { size: 0, inline: true },
    { size: 1, inline: true },
    { size: 68, inline: true },
    { size: 69, inline: false },
  ])('value_$size', ({ size, inline }) => {
    const xattrs = new Map([['user.name', new Uint8Array(size).fill(7)]]);
    const encoded = encodeXattrs(xattrs);
    expect([encoded.inline !== undefined, encoded.block !== undefined]).toEqual([inline, !inline]);
    expect(throughCodec(xattrs)).toEqual(xattrs);
  });

  // A block of 4096 less header of 32, terminator, entry of 16 with its name of 4.
  test('block_4040 fits, block_4041 does not', () => {
    const of = (size: number): ReadonlyMap<string, Uint8Array> => new Map([['user.name', new Uint8Array(size)]]);
    expect(throughCodec(of(4040))).toEqual(of(4040));
    expect(() => encodeXattrs(of(4041))).toThrow(expect.objectContaining({ code: 'limit-exceeded' }));
  });

  test('name_255 fits, name_256 does not', () => {
    const of = (length: number): ReadonlyMap<string, Uint8Array> =>
      new Map([[`user.${'n'.repeat(length)}`, Uint8Array.of(1)]]);
    expect(throughCodec(of(255))).toEqual(of(255));
    expect(() => encodeXattrs(of(256))).toThrow(expect.objectContaining({ code: 'limit-exceeded', found: 256 }));
  });

  test('any set that fits comes back', () => {
    const name = fc
      .tuple(
        fc.constantFrom('user.', 'trusted.', 'security.', 'system.'),
        fc.string({ unit: 'binary-ascii', minLength: 1, maxLength: 20 }),
      )
      .map(([prefix, suffix]) => prefix + suffix);
    const set = fc.uniqueArray(fc.tuple(name, fc.uint8Array({ maxLength: 150 })), {
      maxLength: 10,
      selector: ([key]) => key,
    });
    fc.assert(
      fc.property(set, (entries) => {
        const xattrs = new Map(entries);
        expect(throughCodec(xattrs)).toEqual(xattrs);
      }),
      { numRuns: 500 },
    );
  });

  test('damaged ones are an error or other values, and never anything else', () => {
    const xattrs = new Map<string, Uint8Array>(
      Array.from({ length: 12 }, (_, i) => [`user.${'n'.repeat(i + 1)}`, new Uint8Array(i * 20)]),
    );
    xattrs.set('system.posix_acl_access', ACCESS);
    const { inline, block } = encodeXattrs(xattrs);
    const damage = fc.array(fc.tuple(fc.nat(4095), fc.nat(255)), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(damage, fc.boolean(), (bytes, head) => {
        const [tail, rest] = [inline!.slice(), block!.slice()];
        for (const [at, value] of bytes) {
          rest[head ? at % 400 : at] = value;
          tail[at % tail.length] = value;
        }
        try {
          decodeXattrs(tail, rest, where);
        } catch (error) {
          expect(error).toMatchObject({ name: 'AccelError', code: 'ext4-invalid' });
        }
      }),
      { numRuns: 3000 },
    );
  });
});

describeWith({ tools: ['e2fsck', 'debugfs', 'python3'] }, 'extended attributes on disk', () => {
  const capability = Buffer.from('0100000200200000000000000000000000000000', 'hex');

  test('are what the kernel shows: in the inode, in a block, in both, replaced and taken away', async () => {
    const big = new Uint8Array(3000).fill(66);
    const layers = [
      tar()
        .file('ping', 'x', { xattrs: { 'security.capability': capability } })
        .file('small', 'x', { xattrs: { 'user.empty': '', 'user.binary': Uint8Array.of(0, 255, 10, 61) } })
        .file('big', 'x', { xattrs: { 'user.big': big } })
        .file('both', 'x', { xattrs: { 'user.big': big, 'user.a': 'a', 'trusted.t': 't', 'security.s': 's' } })
        .file('full', 'x', { xattrs: { 'user.name': new Uint8Array(4040).fill(1) } })
        .file('many', 'x', {
          xattrs: Object.fromEntries(Array.from({ length: 90 }, (_, i) => [`user.attribute-${i}`, `value ${i}`])),
        })
        .dir('acl/', { xattrs: { 'system.posix_acl_access': ACCESS, 'system.posix_acl_default': DEFAULT } })
        .file('acl/f', 'x', { mode: 0o770, xattrs: { 'system.posix_acl_access': ACCESS } })
        .symlink('link', 'x', { xattrs: { 'trusted.link': 'l' } })
        .fifo('fifo', { xattrs: { 'trusted.fifo': 'f' } })
        .device('dev', 'character', 1, 3, { xattrs: { 'security.dev': 'd' } })
        .dir('grows/', { xattrs: { 'user.a': 'a' } }),
      tar()
        .dir('grows/', { xattrs: { 'user.big': big } })
        .file('big', 'without')
        .dir('acl/', { xattrs: { 'user.more': big } }),
      tar()
        .dir('grows/', { xattrs: { 'user.big': 'small again' } })
        .whiteout('full')
        .link('other', 'both'),
    ];
    await withImage(SMALL, async (box) => {
      for (const [i, layer] of layers.entries()) {
        box.layer(layer, 321);
        await box.check();
        const expected = await expectedTree(layers.slice(0, i + 1).map((l) => l.build()));
        expect(diffTrees(expected, await box.foreignTree())).toEqual([]);
        expect(diffTrees(expected, await box.tree())).toEqual([]);
      }
    });
  });

  test('names with bytes past ASCII are kept, in the inode and in a block', async () => {
    await withImage(SMALL, async (box) => {
      box.layer(
        tar()
          .file('inline', 'x', { pax: { 'SCHILY.xattr.user.caf\xe9': 'x' } })
          .file('block', 'x', { pax: { 'SCHILY.xattr.user.caf\xe9': new Uint8Array(500) } }),
      );
      await box.check();
      const names = (await box.foreignTree()).map((entry) => entry.xattrs.map(([name]) => name));
      expect(names).toEqual([[], ['user.caf\xe9'], ['user.caf\xe9']]);
    });
  });

  test('ones that no Linux stores are left out with a warning', async () => {
    await withImage(SMALL, async (box) => {
      const { warnings } = box.layer(
        tar().file('f', 'x', { xattrs: { 'com.apple.quarantine': 'q', 'user.kept': 'k' } }),
      );
      expect(warnings).toEqual([expect.stringMatching(/^f: .*com\.apple\.quarantine/)]);
      expect((await box.tree()).at(-1)!.xattrs).toEqual([['user.kept', '6b']]);
    });
  });

  test('attributes that are too large, and invalid ACLs, are errors that name the file', async () => {
    await withImage(SMALL, async (box) => {
      box.layer(tar().dir('d/', { xattrs: { 'user.a': new Uint8Array(4000) } }));
      const tooLarge = tar().file('dir/file', 'x', { xattrs: { 'user.huge': new Uint8Array(5000) } });
      expect(() => box.layer(tooLarge)).toThrow(
        expect.objectContaining({ code: 'limit-exceeded', where: expect.objectContaining({ path: 'dir/file' }) }),
      );
    });
    await withImage(SMALL, async (box) => {
      const bad = tar().file('f', 'x', { xattrs: { 'system.posix_acl_access': 'none' } });
      expect(() => box.layer(bad)).toThrow(
        expect.objectContaining({ code: 'layer-unsupported', where: expect.objectContaining({ path: 'f' }) }),
      );
    });
    await withImage(SMALL, async (box) => {
      box.layer(tar().dir('d/', { xattrs: { 'user.a': new Uint8Array(3000) } }));
      const sum = tar().dir('d/', { xattrs: { 'user.b': new Uint8Array(3000) } });
      expect(() => box.layer(sum)).toThrow(
        expect.objectContaining({ code: 'limit-exceeded', where: expect.objectContaining({ path: 'd/' }) }),
      );
    });
  });
});
