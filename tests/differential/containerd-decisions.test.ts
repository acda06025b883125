/**
 * Layers of which containerd makes another tree than accel, or none, by either snapshotter: the decisions that
 * docs/reliability.md lists. A row that containerd's next version changes fails here.
 */
import { expect, test } from 'vitest';
import { AccelError } from '../../base/error.ts';
import { TarBuilder } from '../../fixtures/tar-builder.ts';
import { base256 } from '../../fixtures/tar-header.ts';
import { acl, GROUP, MASK, NAMED_USER, OTHER, OWNER } from '../../formats/layer/testing/acl-builder.ts';
import { applyLayer } from '../../verify/source-tree/apply-layer.ts';
import { SourceTreeBuilder } from '../../verify/source-tree/flatten.ts';
import { entriesOf } from '../../verify/source-tree/testing/entries-of.ts';
import { CONTAINERD_NEEDS, type ImageTars, type UnpackedTree, withContainerd } from '../support/containerd.ts';
import { describeWith } from '../support/tools.ts';
import type { TreeEntry } from '../support/tree.ts';

const tar = (): TarBuilder => new TarBuilder({ mtime: '1700000000' });

/** The facts about a tree that are compared. */
type View = (tree: readonly TreeEntry[]) => unknown;

interface Decision {
  readonly name: string;
  readonly layers: readonly TarBuilder[];
  readonly view: View;
  readonly accel: unknown;
  readonly native: unknown;
  readonly overlayfs: unknown;
}

const files: View = (tree) => tree.filter(({ type }) => type !== 'directory').map(({ path }) => path);
const paths: View = (tree) => tree.map(({ path }) => path).slice(1);
const at =
  (path: string, pick: (entry: TreeEntry) => unknown): View =>
  (tree) =>
    pick(tree.find((e) => e.path === path)!);
const meta = ({ mode, uid, gid, mtimeNs }: TreeEntry): unknown => [
  mode.toString(8),
  uid,
  gid,
  Number(mtimeNs / 1_000_000_000n),
];
const xattrs = ({ xattrs: all }: TreeEntry): unknown => all.map(([name]) => name);
const REFUSED = 'refused';

const LINK = { mode: 0o640, uid: 2, mtime: '1600000000' };
const ACL = acl([OWNER, 6], [NAMED_USER, 7, 1000], [GROUP, 4], [MASK, 7], [OTHER, 4]);
const CAPABILITY = Buffer.from(`0100000200200000${'00'.repeat(12)}`, 'hex');
const access = (value: Uint8Array) => ({ xattrs: { 'system.posix_acl_access': value } });
/** Where all three agree. */
const all = (result: unknown) => ({ accel: result, native: result, overlayfs: result });

const usr = (): TarBuilder => tar().file('usr/lib/a', '1').symlink('lib', 'usr/lib');

const lowerDirectory = (): TarBuilder => tar().file('d/a', '').dir('d/s/').file('d/s/b', '');
const LONG = 'n'.repeat(255);

const DECISIONS: readonly Decision[] = [
  {
    name: 'the header of a hard link counts for its file',
    layers: [tar().file('f', 'x', { mode: 0o755, uid: 1 }).link('g', 'f', LINK)],
    view: at('/f', meta),
    ...all(['640', 2, 0, 1_600_000_000]),
  },
  {
    name: 'a hard link takes the capabilities that it does not repeat',
    layers: [
      tar()
        .file('f', 'x', { xattrs: { 'security.capability': CAPABILITY, 'user.a': 'a' } })
        .link('g', 'f'),
    ],
    view: at('/f', xattrs),
    ...all(['user.a']),
  },
  {
    name: 'the mode has the last word over the mask of an ACL',
    layers: [tar().file('f', 'x', { mode: 0o644, ...access(ACL) })],
    view: at('/f', (e) => [e.mode.toString(8), e.xattrs]),
    ...all([
      '644',
      [
        [
          'system.posix_acl_access',
          Buffer.from(acl([OWNER, 6], [NAMED_USER, 7, 1000], [GROUP, 4], [MASK, 4], [OTHER, 4])).toString('hex'),
        ],
      ],
    ]),
  },
  {
    name: 'an ACL of owner, group and others is removed',
    layers: [
      tar()
        .file('f', 'x', access(acl([OWNER, 6], [GROUP, 4], [OTHER, 4])))
        .file('g', '', access(acl())),
    ],
    view: (tree) => tree.flatMap(({ xattrs: some }) => some),
    ...all([]),
  },
  {
    name: 'an ACL on a symlink is left out',
    layers: [tar().symlink('l', 'f', access(ACL))],
    view: at('/l', xattrs),
    ...all([]),
  },
  {
    name: 'an ACL out of order is refused',
    layers: [tar().file('f', 'x', access(acl([GROUP, 4], [OWNER, 6], [OTHER, 4])))],
    view: paths,
    ...all(REFUSED),
  },
  {
    name: 'a capability of another revision is refused',
    layers: [tar().file('f', 'x', { xattrs: { 'security.capability': CAPABILITY.subarray(0, 12) } })],
    view: paths,
    ...all(REFUSED),
  },
  {
    name: 'attributes of namespaces that no file system has are left out',
    layers: [tar().file('f', 'x', { xattrs: { 'com.apple.x': '1', 'system.nfs4_acl': '1', 'user.a': 'a' } })],
    view: at('/f', xattrs),
    ...all(['user.a']),
  },
  {
    name: 'user attributes on a pipe are left out',
    layers: [tar().fifo('p', { xattrs: { 'user.a': 'a' } })],
    view: at('/p', xattrs),
    ...all([]),
  },
  {
    name: 'a default ACL on a file is left out; containerd refuses it',
    layers: [tar().file('f', 'x', { xattrs: { 'system.posix_acl_default': ACL } })],
    view: at('/f', xattrs),
    accel: [],
    native: REFUSED,
    overlayfs: REFUSED,
  },
  {
    name: 'files in a directory with a default ACL have their own; under containerd they inherit it',
    layers: [
      tar()
        .dir('d/', { xattrs: { 'system.posix_acl_default': ACL } })
        .file('d/f', 'x'),
    ],
    view: at('/d/f', xattrs),
    accel: [],
    native: ['system.posix_acl_access'],
    overlayfs: ['system.posix_acl_access'],
  },
  {
    name: 'trusted attributes are kept; containerd leaves them out',
    layers: [tar().file('f', 'x', { xattrs: { 'trusted.a': 'a' } })],
    view: at('/f', xattrs),
    accel: ['trusted.a'],
    native: [],
    overlayfs: [],
  },
  {
    name: 'records of PAX global headers are ignored',
    layers: [tar().pax({ uid: '1234', mtime: '1000000000', path: 'p' }, true).file('f', 'x')],
    view: at('/f', meta),
    ...all(['644', 0, 0, 1_700_000_000]),
  },
  {
    name: 'times before 1970 are kept; containerd makes them 1970',
    layers: [tar().file('f', 'x', { mtime: '-1000' })],
    view: at('/f', meta),
    accel: ['644', 0, 0, -1000],
    native: ['644', 0, 0, 0],
    overlayfs: ['644', 0, 0, 0],
  },
  {
    name: 'the entry ./ is applied; containerd ignores it',
    layers: [tar().dir('./', { mode: 0o711, uid: 3 }).file('f', '')],
    view: at('/', ({ mode, uid }) => [mode.toString(8), uid]),
    accel: ['711', 3],
    native: ['755', 0],
    overlayfs: ['755', 0],
  },
  {
    name: 'names that AUFS kept for itself are left out; containerd unpacks them',
    layers: [tar().dir('.wh..wh.plnk/').file('.wh..wh.plnk/1.2', 'x').file('f', '')],
    view: files,
    accel: ['/f'],
    native: ['/.wh..wh.plnk/1.2', '/f'],
    overlayfs: ['/.wh..wh.plnk/1.2', '/f'],
  },
  {
    name: 'entries below a whiteout are left out; containerd unpacks them',
    layers: [tar().file('a/f', ''), tar().file('a/.wh.x/y', '')],
    view: files,
    accel: ['/a/f'],
    native: ['/a/.wh.x/y', '/a/f'],
    overlayfs: ['/a/.wh.x/y', '/a/f'],
  },
  {
    name: 'missing parents of a whiteout are not made; containerd makes them',
    layers: [tar().file('f', ''), tar().whiteout('no/such')],
    view: paths,
    accel: ['/f'],
    native: ['/f', '/no'],
    overlayfs: ['/f', '/no'],
  },
  {
    name: 'a whiteout spares what its own layer made; containerd takes what it made before',
    layers: [tar().file('f', '1'), tar().file('f', '2').whiteout('f')],
    view: files,
    accel: ['/f'],
    native: [],
    overlayfs: REFUSED,
  },
  {
    name: 'a whiteout behind a symlink of its layer removes nothing; containerd follows the symlink',
    layers: [tar().file('a/x', '').file('b/x', ''), tar().symlink('a', '/b').whiteout('a/x')],
    view: files,
    accel: ['/a', '/b/x'],
    native: ['/a'],
    overlayfs: ['/a'],
  },
  {
    name: 'a whiteout below what its layer made a file removes nothing; containerd refuses it',
    layers: [tar().file('d/x', ''), tar().file('d', 'now a file').whiteout('d/x')],
    view: files,
    accel: ['/d'],
    native: REFUSED,
    overlayfs: REFUSED,
  },
  {
    name: 'a path through a symlink of a lower layer is followed; overlayfs makes a directory',
    layers: [usr(), tar().file('lib/b', '2')],
    view: files,
    accel: ['/lib', '/usr/lib/a', '/usr/lib/b'],
    native: ['/lib', '/usr/lib/a', '/usr/lib/b'],
    overlayfs: ['/lib/b', '/usr/lib/a'],
  },
  {
    name: 'a path through a file of a lower layer is refused; overlayfs makes a directory',
    layers: [tar().file('d', ''), tar().file('d/n', '')],
    view: files,
    accel: REFUSED,
    native: REFUSED,
    overlayfs: ['/d/n'],
  },
  {
    name: 'a hard link to a file of a lower layer shares it; overlayfs refuses it',
    layers: [tar().file('f', 'x'), tar().link('g', 'f')],
    view: at('/g', ({ firstLink }) => firstLink),
    accel: '/f',
    native: '/f',
    overlayfs: REFUSED,
  },
  {
    name: 'a hard link through a missing directory and back leads where it would without',
    layers: [tar().file('etc/passwd', 'x').symlink('loc', 'up/../../../etc').link('l', '/loc/passwd')],
    view: paths,
    ...all(['/etc', '/etc/passwd', '/l', '/loc']),
  },
  {
    name: 'a hard link whose target climbs above the root is refused; containerd stops at the root',
    layers: [tar().file('etc/passwd', 'x').link('l', '../../../etc/passwd')],
    view: files,
    accel: REFUSED,
    native: ['/etc/passwd', '/l'],
    overlayfs: ['/etc/passwd', '/l'],
  },
  {
    name: 'a directory of a missing symlink target is made where the path ends',
    layers: [tar().dir('c/').symlink('s', 'no/../c/new').file('s/x', '')],
    view: paths,
    ...all(['/c', '/c/new', '/c/new/x', '/s']),
  },
  {
    name: 'a directory that its layer whites out and makes again holds what the layer puts there; overlayfs shows what was below',
    layers: [lowerDirectory(), tar().whiteout('d').dir('d/', { mode: 0o711 }).file('d/z', '')],
    view: files,
    accel: ['/d/z'],
    native: ['/d/z'],
    overlayfs: ['/d/a', '/d/s/b', '/d/z'],
  },
  {
    name: 'a directory that its layer whites out comes back for a file in it; overlayfs refuses it',
    layers: [lowerDirectory(), tar().whiteout('d').file('d/z', '')],
    view: files,
    accel: ['/d/z'],
    native: ['/d/z'],
    overlayfs: REFUSED,
  },
  {
    name: 'a whiteout behind a symlink of a lower layer removes what it leads to; overlayfs hides nothing there',
    layers: [usr(), tar().whiteout('lib/a')],
    view: files,
    accel: ['/lib'],
    native: ['/lib'],
    overlayfs: ['/usr/lib/a'],
  },
  {
    name: 'an opaque whiteout leaves all that its layer brings, before and after it',
    layers: [
      lowerDirectory(),
      tar().file('d/before', '').opaque('d').file('d/after', '').dir('d/s/').file('d/s/c', ''),
    ],
    view: files,
    ...all(['/d/after', '/d/before', '/d/s/c']),
  },
  {
    name: 'a name that its layer whites out, as a directory in place of a file',
    layers: [tar().file('f', ''), tar().whiteout('f').dir('f/').file('f/in', '')],
    view: files,
    ...all(['/f/in']),
  },
  {
    name: 'the last of several hard links counts for all names, special files too',
    layers: [
      tar()
        .file('f', 'x', { mode: 0o755 })
        .link('g', 'f', { mode: 0o711, uid: 1 })
        .link('h', 'g', LINK)
        .device('c', 'character', 4095, 1_048_575)
        .link('c2', 'c', LINK),
    ],
    view: (tree) => tree.filter(({ path }) => path !== '/').map(meta),
    ...all(Array.from({ length: 5 }, () => ['640', 2, 0, 1_600_000_000])),
  },
  {
    name: 'the mode of a hard link has the last word over the mask of its ACL',
    layers: [
      tar()
        .file('f', 'x', { mode: 0o640 })
        .link('g', 'f', { mode: 0o624, ...access(ACL) }),
    ],
    view: at('/f', (e) => [e.mode.toString(8), xattrs(e)]),
    ...all(['624', ['system.posix_acl_access']]),
  },
  {
    name: 'a name in turns a file, a directory with content and a file, and one that was linked before',
    layers: [tar().file('x', '1').link('y', 'x').dir('x/').file('x/in', '2').file('x', '3')],
    view: (tree) => tree.filter(({ type }) => type === 'file').map(({ path, firstLink }) => [path, firstLink]),
    ...all([
      ['/x', '/x'],
      ['/y', '/y'],
    ]),
  },
  {
    name: 'whiteouts may be entries of any type, with content, and in a layer of their own behind an empty one',
    layers: [
      tar().file('a', '').file('b', '').file('c', '').file('d', ''),
      tar(),
      tar().dir('.wh.a/').symlink('.wh.b', 'q').file('.wh.c', 'content').file('e', ''),
    ],
    view: files,
    ...all(['/d', '/e']),
  },
  {
    name: 'records of PAX global headers are ignored beside those of the entry',
    layers: [
      tar()
        .pax({ mtime: '1111111111', size: '5', 'SCHILY.xattr.user.g': '1' }, true)
        .file('f', 'x', { xattrs: { 'user.own': '1' } }),
    ],
    view: at('/f', (e) => [meta(e), xattrs(e)]),
    ...all([['644', 0, 0, 1_700_000_000], ['user.own']]),
  },
  {
    name: 'a path that climbs above the root is refused; containerd stops at the root',
    layers: [tar().file('a/../../x', '')],
    view: paths,
    accel: REFUSED,
    native: ['/x'],
    overlayfs: ['/x'],
  },
  {
    name: 'contiguous files, dump directories and volume labels are read; containerd refuses them',
    layers: [
      tar()
        .header({ name: 'label', typeflag: 'V' })
        .headerWithBody({ name: 'd/', typeflag: 'D' }, 'Yf\0\0')
        .headerWithBody({ name: 'd/f', typeflag: '7' }, 'x'),
    ],
    view: files,
    accel: ['/d/f'],
    native: REFUSED,
    overlayfs: REFUSED,
  },
  {
    name: 'an extension header without an entry is refused; containerd ignores it',
    layers: [tar().file('a', '').pax({ path: 'b' })],
    view: paths,
    accel: REFUSED,
    native: ['/a'],
    overlayfs: ['/a'],
  },
  {
    name: 'a negative id is refused; containerd takes its low 32 bits',
    layers: [tar().header({ name: 'a', gid: base256(-2, 8) })],
    view: at('/a', ({ gid }) => gid),
    accel: REFUSED,
    native: 2 ** 32 - 2,
    overlayfs: 2 ** 32 - 2,
  },
  {
    name: 'a time that ext4 cannot hold becomes its last second; containerd makes it 1970',
    layers: [tar().file('a', '', { mtime: '16725225600' })],
    view: at('/a', ({ mtimeNs }) => Number(mtimeNs / 1_000_000_000n)),
    accel: 2 ** 34 - 2 ** 31 - 1,
    native: 0,
    overlayfs: 0,
  },
  {
    name: 'a single zero block within a tar',
    layers: [tar().file('a', '').raw(new Uint8Array(512)).file('b', '')],
    view: paths,
    ...all(REFUSED),
  },
  {
    name: 'whiteouts of nothing by name, of the directory itself and of its parent',
    layers: [tar().file('d/a', ''), tar().file('d/.wh.', '')],
    view: paths,
    ...all(REFUSED),
  },
  {
    name: 'a GNU name before and after a PAX name counts',
    layers: [
      tar().gnuLong('L', 'gnu').pax({ path: 'pax' }).file('x', ''),
      tar().pax({ path: 'pax2' }).gnuLong('L', 'gnu2').file('x', ''),
    ],
    view: files,
    ...all(['/gnu', '/gnu2']),
  },
  {
    name: 'names of 255 bytes, each within the other, and a symlink of 3000',
    layers: [
      tar()
        .file(`${LONG}/${LONG}/${LONG}`, '')
        .symlink('l', `${'p/'.repeat(1499)}qq`),
    ],
    view: (tree) => tree.map(({ path }) => path.length),
    ...all([1, 2, 256, 512, 768]),
  },
];

async function ours(layers: ImageTars): Promise<UnpackedTree> {
  const builder = new SourceTreeBuilder();
  try {
    for (const layer of layers) {
      const rules = builder.nextLayer({ changed: () => undefined, differs: () => undefined });
      await applyLayer(once(layer), rules, { hashContent: true, maxEntries: 100, tooMany });
    }
    return { tree: entriesOf(builder.finish()) };
  } catch (error) {
    if (error instanceof AccelError) return { complaint: error.message };
    throw error;
  }
}

const tooMany = (): AccelError => new AccelError('limit-exceeded', 'too many');

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

const seen = (one: UnpackedTree, view: View): unknown => ('complaint' in one ? REFUSED : view(one.tree));

describeWith(CONTAINERD_NEEDS, 'where containerd and accel may differ', () => {
  test('they do as listed, and nowhere else', { timeout: 600_000 }, async () => {
    const images = DECISIONS.map(({ layers }) => layers.map((layer) => layer.build()));
    const [native, overlayfs] = await withContainerd(async (containerd) => [
      await containerd.unpack(images, 'native'),
      await containerd.unpack(images, 'overlayfs'),
    ]);
    const found = await Promise.all(
      DECISIONS.map(async ({ name, view }, i) => ({
        name,
        accel: seen(await ours(images[i]!), view),
        native: seen(native![i]!, view),
        overlayfs: seen(overlayfs![i]!, view),
      })),
    );
    expect(found).toEqual(DECISIONS.map(({ name, accel, native, overlayfs }) => ({ name, accel, native, overlayfs })));
  });
});
