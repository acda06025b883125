/**
 * The rules of a layer, applied to ext4 and to the tree that verification compares with: each case names the paths that
 * must come out of both, and what is reported. e2fsck and the kernel (or debugfs) have a look at the file system.
 */
import { describe, expect, test } from 'vitest';
import { AccelError } from '../../base/error.ts';
import { TarBuilder } from '../../fixtures/tar-builder.ts';
import { describeWith } from '../../tests/support/tools.ts';
import { diffTrees, type TreeEntry } from '../../tests/support/tree.ts';
import { applyLayer } from '../../verify/source-tree/apply-layer.ts';
import { SourceTreeBuilder } from '../../verify/source-tree/flatten.ts';
import { entriesOf } from '../../verify/source-tree/testing/entries-of.ts';
import { SMALL, withImage } from '../ext4/testing/image-box.ts';
import { acl, GROUP, MASK, NAMED_USER, OTHER, OWNER } from './testing/acl-builder.ts';
import { leftOut } from './xattrs.ts';

const tar = (): TarBuilder => new TarBuilder({ mtime: '1700000000' });

interface Outcome {
  readonly tree: readonly TreeEntry[];
  readonly warnings: readonly string[];
}

/** Applies the layers in both ways, which must agree, and has the file system judged after each. */
async function apply(...layers: readonly TarBuilder[]): Promise<Outcome> {
  const builder = new SourceTreeBuilder();
  return withImage(SMALL, async (box) => {
    const warnings: string[] = [];
    for (const layer of layers) {
      warnings.push(...box.layer(layer).warnings);
      await box.check();
      const rules = builder.nextLayer({ changed: () => undefined, differs: () => undefined });
      await applyLayer(once(layer.build()), rules, { hashContent: true, maxEntries: 10_000, tooMany });
    }
    const expected = entriesOf(builder.finish());
    const tree = await box.tree();
    expect(diffTrees(expected, tree)).toEqual([]);
    expect(diffTrees(expected, await box.foreignTree())).toEqual([]);
    return { tree, warnings };
  });
}

const tooMany = (): AccelError => new AccelError('limit-exceeded', 'too many');

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

async function refusal(...layers: readonly TarBuilder[]): Promise<AccelError> {
  const outcome = await apply(...layers).catch((error: unknown) => error);
  if (outcome instanceof AccelError) return outcome;
  throw outcome instanceof Error ? outcome : new Error('the layer was applied');
}

const paths = ({ tree }: Outcome): string[] => tree.map(({ path }) => path);
const at = ({ tree }: Outcome, path: string): TreeEntry => tree.find((entry) => entry.path === path)!;
const xattrsAt = (outcome: Outcome, path: string): Record<string, string> =>
  Object.fromEntries(at(outcome, path).xattrs);

const TOOLS = { tools: ['e2fsck', 'debugfs', 'python3'] };

describeWith(TOOLS, 'a symlink with two names leads from each of their directories', () => {
  test.each([
    ['relative', 'x', ['/d/x/1', '/d/x/3', '/e/x/2']],
    ['with_two_dots', '../f', ['/f/1', '/f/2', '/f/3']],
    ['absolute', '/f', ['/f/1', '/f/2', '/f/3']],
  ])('%s', async (_, text, files) => {
    const layer = tar().symlink('d/s', text).link('e/s', 'd/s');
    for (const path of ['d/s/1', 'd/./s/3', 'e/s/2']) layer.file(path, '');
    expect(paths(await apply(layer)).filter((path) => /[1-3]$/.test(path))).toEqual(files);
  });

  test('through itself', async () => {
    const outcome = await apply(tar().symlink('b', 'no/x').link('b/a', 'b'), tar().file('b/a/f', ''));
    expect(paths(outcome)).toContain('/no/x/no/x/f');
  });
});

describeWith(TOOLS, 'the path of a whiteout is one in the lower layers', () => {
  const lower = (): TarBuilder => tar().file('a/x', 'a').file('b/x', 'b').symlink('s', 'b').symlink('r', '/b');

  test.each([
    ['directory_becomes_symlink', tar().symlink('a', '/b').whiteout('a/x'), ['/b/x']],
    ['directory_becomes_symlink_opaque', tar().symlink('a', 'b').opaque('a'), ['/b/x']],
    ['nothing_becomes_symlink', tar().symlink('n', 'b').whiteout('n/x'), ['/a/x', '/b/x']],
    ['deep_below_new_symlink', tar().symlink('n/m', '../b').opaque('n/m'), ['/a/x', '/b/x', '/n/m']],
    ['symlink_becomes_directory', tar().dir('s/').opaque('s').file('s/new', ''), ['/a/x', '/b/x', '/s/new']],
    ['symlink_becomes_directory_whiteout', tar().dir('s/').whiteout('s/x'), ['/a/x', '/b/x']],
    ['symlink_made_again', tar().symlink('s', 'b').whiteout('s/x'), ['/a/x']],
    ['symlink_made_again_elsewhere', tar().symlink('s', 'a').whiteout('s/x'), ['/a/x']],
    ['symlink_linked', tar().link('a', 's').whiteout('a/x'), ['/b/x']],
    ['whiteout_first_through_lower_symlink', tar().whiteout('s/x').dir('s/'), ['/a/x']],
    ['through_missing_and_back', tar().symlink('n', 'a').whiteout('r/../no/../b/x'), ['/a/x']],
  ])('%s', async (_, upper, files) => {
    const outcome = await apply(lower(), upper);
    expect(paths(outcome).filter((path) => path.includes('/', 1))).toEqual(files);
  });

  test('a whiteout behind a symlink of its layer is reported, because containerd follows it', async () => {
    const { warnings } = await apply(lower(), tar().symlink('a', 'b').whiteout('a/x'));
    expect(warnings).toEqual([expect.stringMatching(/^a\/\.wh\.x: .*a, a symlink that this layer made.*containerd/)]);
  });

  test('whiteouts below what has become a file remove nothing, and are reported, as umoci writes them', async () => {
    // `rm -r licenses; echo … >licenses` in a step of a build.
    const before = tar().dir('share/licenses/').file('share/licenses/GPL', 'g').file('share/licenses/MIT', 'm');
    const step = tar()
      .file('share/licenses', 'a file where a directory was')
      .whiteout('share/licenses/GPL')
      .whiteout('share/licenses/MIT');
    const outcome = await apply(before, step);
    expect(paths(outcome)).toEqual(['/', '/share', '/share/licenses']);
    expect(at(outcome, '/share/licenses').type).toBe('file');
    expect(outcome.warnings).toEqual([
      expect.stringMatching(/^share\/licenses\/\.wh\.GPL: .*licenses, which is not a directory.*containerd refuses/),
      expect.stringMatching(/^share\/licenses\/\.wh\.MIT: /),
    ]);
  });
});

describeWith(TOOLS, 'names that only whiteouts have', () => {
  test.each([
    ['a/.wh.x/y', tar().file('a/.wh.x/y', '')],
    ['.wh.d/sub/y', tar().file('.wh.d/sub/y', '')],
    ['.wh.x/.wh.a', tar().whiteout('.wh.x/a')],
    ['a/.wh.x/', tar().dir('a/.wh.x/').file('a/.wh.x/y', '')],
  ])('an entry below one is left out: %s', async (_, upper) => {
    const outcome = await apply(tar().file('a/f', ''), upper);
    expect(paths(outcome)).toEqual(['/', '/a', '/a/f']);
    expect(outcome.warnings).toEqual([expect.stringMatching(/below a whiteout/)]);
  });

  test('a symlink does not lead to one', async () => {
    expect(await refusal(tar().symlink('s', '.wh.x').file('s/y', ''))).toMatchObject({
      code: 'tar-invalid',
      found: '.wh.x',
      where: { path: 's/y' },
    });
  });
});

describeWith(TOOLS, 'the header of a hard link counts for its file', () => {
  const link = { mode: 0o640, uid: 2, gid: 3, mtime: '1600000000.5', xattrs: { 'user.l': 'l' } };
  const CAPABILITY = Buffer.from(`0100000200200000${'00'.repeat(12)}`, 'hex');

  test.each([
    ['in_one_layer', [tar().file('f', 'x', { uid: 1 }).link('g', 'f', link)]],
    ['in_an_upper_layer', [tar().file('f', 'x', { uid: 1 }), tar().link('g', 'f', link)]],
    ['to_itself', [tar().file('f', 'x').link('g', 'f'), tar().link('f', 'f', link)]],
    [
      'of_a_fifo',
      [
        tar()
          .fifo('f')
          .link('g', 'f', { ...link, xattrs: { 'trusted.l': 'l' } }),
      ],
    ],
  ] as const)('%s', async (_, layers) => {
    const outcome = await apply(...layers);
    for (const path of ['/f', '/g']) {
      expect(at(outcome, path)).toMatchObject({ mode: 0o640, uid: 2, gid: 3, mtimeNs: 1_600_000_000_500_000_000n });
    }
    expect(at(outcome, '/f').xattrs).toHaveLength(1);
  });

  test('of a symlink, but for its mode', async () => {
    const outcome = await apply(
      tar()
        .symlink('f', 'x')
        .link('g', 'f', { ...link, xattrs: {} }),
    );
    expect(at(outcome, '/g')).toMatchObject({
      type: 'symlink',
      mode: 0o777,
      uid: 2,
      mtimeNs: 1_600_000_000_500_000_000n,
    });
  });

  test('attributes are added; a capability goes unless it is repeated, as with chown', async () => {
    const file = { xattrs: { 'user.f': 'f', 'security.capability': CAPABILITY } };
    const outcome = await apply(
      tar().file('f', 'x', file).link('g', 'f', link),
      tar()
        .file('h', 'x', file)
        .link('i', 'h', { xattrs: { 'security.capability': CAPABILITY } }),
    );
    expect(Object.keys(xattrsAt(outcome, '/f'))).toEqual(['user.f', 'user.l']);
    expect(Object.keys(xattrsAt(outcome, '/h'))).toEqual(['security.capability', 'user.f']);
  });

  test('one to a file of a lower layer is reported once, because containerd overlays refuse it', async () => {
    const { warnings } = await apply(tar().file('f', 'x'), tar().link('g', 'f').link('h', 'f').link('i', 'g'));
    expect(warnings).toEqual([expect.stringMatching(/^g: a hard link to f of a lower layer/)]);
  });
});

describeWith(TOOLS, 'paths through symlinks', () => {
  test('of a lower layer are followed, and reported once each', async () => {
    const lower = tar().file('usr/lib/a', '1').dir('usr/bin/').symlink('lib', 'usr/lib').symlink('bin', 'usr/bin');
    const outcome = await apply(
      lower,
      tar().file('lib/b', '2').file('lib/c', '3').file('bin/d', '4').whiteout('lib/a'),
    );
    expect(paths(outcome)).toEqual(
      ['/', '/bin', '/lib', '/usr', '/usr/bin', '/usr/bin/d', '/usr/lib', '/usr/lib/b', '/usr/lib/c'].sort(),
    );
    expect(outcome.warnings).toEqual([
      expect.stringMatching(/^lib\/b: .*through lib, a symlink of a lower layer.*overlayfs/),
      expect.stringMatching(/^bin\/d: /),
    ]);
  });

  test('of the layer itself are followed without a word', async () => {
    const { warnings } = await apply(tar().dir('usr/lib/').symlink('lib', 'usr/lib').file('lib/b', '2'));
    expect(warnings).toEqual([]);
  });

  test.each([
    ['hard_link', tar().symlink('loc', 'up/../../../etc').link('l', '/loc/passwd'), ['/l', '/loc']],
    ['hard_link_two_missing', tar().symlink('loc', 'up/up/../../etc').link('l', 'loc/passwd'), ['/l', '/loc']],
    ['entry', tar().symlink('loc', 'up/../etc').file('loc/new', ''), ['/etc/new', '/loc']],
  ])('`..` leaves a missing directory without making it: %s', async (_, upper, made) => {
    const outcome = await apply(tar().file('etc/passwd', 'root'), upper);
    expect(paths(outcome)).toEqual(['/', '/etc', '/etc/passwd', ...made].sort());
  });

  test('a file in the way is refused with the way out', async () => {
    const error = await refusal(tar().file('d', ''), tar().file('d/n', ''));
    expect(error).toMatchObject({ code: 'tar-invalid', where: { path: 'd/n' } });
    expect(error.hint).toMatch(/overlayfs/);
  });

  test('symlinks that a layer replaces and walks again and again come to an end', async () => {
    const layer = tar().dir('q/');
    const text = `${'q/../'.repeat(400)}q`;
    for (let i = 0; i < 4000; i++) layer.symlink('s', text).file('s/x', '');
    expect(await refusal(layer)).toMatchObject({ code: 'limit-exceeded', message: expect.stringMatching(/symlinks/) });
  });
});

describeWith(TOOLS, 'access ACLs and modes are one', () => {
  const named = (mask: number): Uint8Array =>
    acl([OWNER, 6], [NAMED_USER, 7, 1000], [GROUP, 4], [MASK, mask], [OTHER, 4]);
  const hex = (value: Uint8Array): string => Buffer.from(value).toString('hex');
  const access = (value: Uint8Array) => ({ xattrs: { 'system.posix_acl_access': value } });

  test.each([
    ['file', tar().file('f', '', { mode: 0o644, ...access(named(7)) })],
    ['directory', tar().dir('f/', { mode: 0o644, ...access(named(7)) })],
    ['device', tar().device('f', 'character', 1, 3, { mode: 0o644, ...access(named(7)) })],
    [
      'hard_link',
      tar()
        .file('f', '')
        .link('g', 'f', { mode: 0o644, ...access(named(7)) }),
    ],
    [
      'mode_of_a_link',
      tar()
        .file('f', '', { mode: 0o670, ...access(named(7)) })
        .link('g', 'f', { mode: 0o644 }),
    ],
    [
      'mode_of_a_later_entry',
      tar()
        .dir('f/', { mode: 0o670, ...access(named(7)) })
        .dir('f/', { mode: 0o644 }),
    ],
    ['smaller_mask', tar().file('f', '', { mode: 0o644, ...access(named(0)) })],
  ])('%s', async (_, layer) => {
    const outcome = await apply(layer);
    expect(at(outcome, '/f').mode).toBe(0o644);
    expect(xattrsAt(outcome, '/f')).toEqual({ 'system.posix_acl_access': hex(named(4)) });
  });

  test.each([
    ['minimal', acl([OWNER, 6], [GROUP, 4], [OTHER, 4])],
    ['no_entries', acl()],
    ['no_bytes', new Uint8Array(0)],
  ])('an ACL that says nothing takes one away: %s', async (_, value) => {
    const lower = tar()
      .dir('d/', { mode: 0o755, ...access(named(5)) })
      .file('f', '', access(value));
    const outcome = await apply(lower, tar().dir('d/', { mode: 0o755, ...access(value) }));
    expect([xattrsAt(outcome, '/d'), xattrsAt(outcome, '/f')]).toEqual([{}, {}]);
  });

  test('a directory that a whiteout leaves to its layer has the ACL of that layer alone, under its mode', async () => {
    const upper = tar()
      .whiteout('d')
      .dir('d/', { mode: 0o640, ...access(named(7)) });
    const outcome = await apply(tar().dir('d/', { xattrs: { 'user.a': 'a' } }), upper, tar());
    const late = await apply(
      tar().dir('d/', { xattrs: { 'user.a': 'a' } }),
      tar()
        .dir('d/', { mode: 0o640, ...access(named(7)) })
        .whiteout('d'),
    );
    const expected = hex(acl([OWNER, 6], [NAMED_USER, 7, 1000], [GROUP, 4], [MASK, 4], [OTHER, 0]));
    for (const one of [outcome, late]) expect(xattrsAt(one, '/d')).toEqual({ 'system.posix_acl_access': expected });
  });

  test('a default ACL does not follow the mode', async () => {
    const xattrs = { 'system.posix_acl_default': named(7) };
    const outcome = await apply(tar().dir('d/', { mode: 0o700, xattrs }));
    expect(xattrsAt(outcome, '/d')).toEqual({ 'system.posix_acl_default': hex(named(7)) });
  });

  test('one that Linux refuses is refused with the path', async () => {
    const broken = acl([GROUP, 4], [OWNER, 6], [OTHER, 0]);
    for (const layer of [tar().file('f', '', access(broken)), tar().file('e', '').link('f', 'e', access(broken))]) {
      expect(await refusal(layer)).toMatchObject({ code: 'layer-unsupported', where: { path: 'f' } });
    }
  });

  test.each(['', '00', `0100000100000000`, `0100000200200000${'00'.repeat(16)}`, `01000003${'00'.repeat(16)}`])(
    'a capability of the bytes %s is refused with the path',
    async (value) => {
      const layer = tar().file('f', '', { xattrs: { 'security.capability': Buffer.from(value, 'hex') } });
      expect(await refusal(layer)).toMatchObject({ code: 'layer-unsupported', where: { path: 'f' } });
    },
  );
});

describeWith(TOOLS, 'attributes that Linux does not store', () => {
  test('are left out, by kind of inode, with a warning that names them', async () => {
    const all = { 'user.u': 'u', 'trusted.t': 't', 'security.s': 's' };
    const value = acl([OWNER, 6], [NAMED_USER, 7, 1000], [GROUP, 4], [MASK, 4], [OTHER, 4]);
    const outcome = await apply(
      tar()
        .file('file', '', { xattrs: { ...all, 'system.posix_acl_default': value, 'system.nfs4_acl': 'n' } })
        .dir('dir/', { xattrs: all })
        .symlink('link', 'file', { xattrs: { ...all, 'system.posix_acl_access': value } })
        .fifo('fifo', { xattrs: all })
        .device('block', 'block', 7, 0, { xattrs: all })
        .device('char', 'character', 1, 3, { xattrs: { ...all, 'com.apple.x': '' } }),
    );
    const names = Object.fromEntries(
      outcome.tree.map(({ path, xattrs }) => [path, xattrs.map(([name]) => name).join(' ')]),
    );
    expect(names).toMatchObject({
      '/file': 'security.s trusted.t user.u',
      '/dir': 'security.s trusted.t user.u',
      '/link': 'security.s trusted.t',
      '/fifo': 'security.s trusted.t',
      '/block': 'security.s trusted.t',
      '/char': 'security.s trusted.t',
    });
    expect(outcome.warnings.map((warning) => warning.replace(/: .*:/, ':'))).toEqual([
      'file: system.nfs4_acl',
      'file: system.posix_acl_default',
      'link: user.u, system.posix_acl_access',
      'fifo: user.u',
      'block: user.u',
      'char: com.apple.x',
      'char: user.u',
    ]);
  });
});

describe('leftOut', () => {
  test.each([
    'user.',
    'trusted.',
    'security.',
    'user',
    '',
    'USER.a',
    'system.posix_acl_accessx',
    'system.richacl',
    'system.data',
  ])('no inode has %s', (name) => expect(leftOut(name, 'file')).toBe('nowhere'));
});
