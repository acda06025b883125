import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { expectedTree, systemTarTree, withoutAcls } from './expected-tree.ts';
import { parseReference, REFERENCE_MISTAKES, REFERENCE_PATH, referenceLine } from './goldens.ts';
import { describeWith, run, withTempDirectory } from './tools.ts';
import { diffTrees, formatEntry } from './tree.ts';

const GOLDENS = join(import.meta.dirname, '../../fixtures/goldens');
const layers = [1, 2].map((layer) => join(GOLDENS, `input/layer${layer}.tar.gz`));

/** The tree that each folder of goldens/edge must become: path, mode, and time in seconds. */
const EDGES = [
  { name: 'dot', layers: 1, tree: ['/ 700 1234567890', '/a 755 1234567890', '/a/f 644 1234567890'] },
  {
    name: 'opqlate',
    layers: 2,
    tree: ['/ 755 0', '/d 755 200', '/d/new 644 200', '/d/sub 755 200', '/d/sub/new 644 200', '/top 644 100'],
  },
  { name: 'rootopq', layers: 2, tree: ['/ 755 0', '/n 644 200'] },
  { name: 'whdot', layers: 2, tree: ['/ 755 0', '/d 755 100', '/d/lower 644 100', '/d/sub 755 100', '/d/x 644 300'] },
];

describeWith({ tools: ['python3'] }, 'the expected tree of the goldens', () => {
  test('differs from the reference only where the reference is wrong', async () => {
    const reference = parseReference(await readFile(REFERENCE_PATH, 'latin1'));
    const ours = new Map((await expectedTree(layers)).map((entry) => [formatEntry(entry).split(' ')[8]!, entry]));
    const differing = [...new Set([...reference.keys(), ...ours.keys()])].filter((path) => {
      const entry = ours.get(path);
      return entry === undefined || referenceLine(entry) !== reference.get(path);
    });
    expect(differing.sort()).toEqual(Object.keys(REFERENCE_MISTAKES).sort());
    expect(ours.get('/home/user/hugeid')).toMatchObject({ uid: 3_000_000, gid: 3_000_001 });
    expect(ours.get('/etc/dotlink')).toMatchObject({ target: './passwd', size: 8 });
    expect(ours.get('/etc/updown')).toMatchObject({ target: '../etc/../etc//passwd' });
    expect(ours.get('/etc')?.mtimeNs).toBe(1_700_000_100_750_000_000n);
    expect(ours.get('/bin/ls')?.firstLink).toBe('/bin/busybox');
  });

  test.each(EDGES)('edge $name', async ({ name, layers: count, tree }) => {
    const inputs = Array.from({ length: count }, (_, layer) => join(GOLDENS, 'edge', name, `layer${layer + 1}.tar.gz`));
    const found = await expectedTree(inputs);
    expect(found.map((entry) => `${entry.path} ${entry.mode.toString(8)} ${entry.mtimeNs / 1_000_000_000n}`)).toEqual(
      tree,
    );
  });
});

describeWith({ tools: ['python3', 'tar', 'gzip'], root: true }, 'GNU tar', () => {
  test('extracts the goldens to the expected tree', async () => {
    expect(diffTrees(await expectedTree(layers), await systemTarTree(layers))).toEqual([]);
  });

  test('extracts ACLs, sparse files, far and early times and bytes that are no text to the expected tree', async () => {
    await withTempDirectory(async (directory) => {
      const tar = join(directory, 'layer.tar');
      await run('sh', ['-ec', ODDITIES, 'sh', directory, tar]);
      const expected = await expectedTree([tar]);
      expect(expected.find((entry) => entry.path === '/sparse')?.size).toBe(16 * 2 ** 20 + 4);
      expect(expected.find((entry) => entry.path === '/caf\xe9')?.type).toBe('file');
      expect(expected.find((entry) => entry.path === '/dir')?.xattrs.map(([name]) => name)).toEqual([
        'system.posix_acl_access',
        'user.binary',
      ]);
      const found = await systemTarTree([tar]);
      expect(diffTrees(withoutAcls(expected), withoutAcls(found))).toEqual([]);
    });
  });
});

/** Makes a directory of what is hard to carry and packs it as $2, with xattrs and ACLs in the kernel's own form. */
const ODDITIES = String.raw`
mkdir "$1/t" && cd "$1/t"
mkdir -m 2775 dir
setfattr -n user.binary -v 0x00ff0a3d00 dir
setfacl -m u:3000000:rwx dir
echo x >"$(printf 'caf\351')"
truncate -s 16M sparse && printf tail >>sparse
touch -d 2300-01-01T00:00:00.000000001Z far
touch -d 1960-01-01T00:00:00.5Z early
ln far far-link
mknod char c 300 70000
mkfifo pipe
chown 3000000:3000001 early
tar --format=pax --sparse --xattrs --xattrs-include='*' -cf "$2" .
`;
