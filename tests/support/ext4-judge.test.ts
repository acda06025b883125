import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { e2fsck, readTree } from './ext4-judge.ts';
import { describeWith, run, withTempDirectory } from './tools.ts';
import { diffTrees } from './tree.ts';

/** Fills the mounted file system $1 with one of everything. */
const CONTENT = String.raw`
cd "$1"
mkdir -m 2775 dir
mkdir dir/empty
setfattr -n user.binary -v 0x00ff0a3d00 dir
setfattr -n user.long -v "$(head -c 900 /dev/zero | tr '\0' v)" dir
setfacl -m u:3000000:rwx dir
setfattr -n security.capability -v 0x0100000200200000000000000000000000000000 "$(mktemp ./cap.XXXX)"
echo x >"$(printf 'caf\351')"
echo x >"with space"
truncate -s 16M sparse && printf tail >>sparse
ln -s dir fast
ln -s "$(head -c 300 /dev/zero | tr '\0' s)" slow
ln sparse dir/linked
ln slow slow-linked
mknod char c 300 70000
mknod block b 7 1
mkfifo pipe
mkdir many && for i in $(seq 500); do echo $i >many/$i; done
chown -h 3000000:3000001 fast sparse
chmod 6711 sparse
touch -h -d 2300-01-01T00:00:00.000000001Z sparse fast
touch -d 1960-01-01T00:00:00.5Z pipe
`;

async function makeImage(directory: string): Promise<string> {
  const image = join(directory, 'image.ext4');
  await run('mke2fs', ['-q', '-t', 'ext4', '-O', '^has_journal', '-b', '4096', '-I', '256', image, '128M']);
  const mounted = join(directory, 'mounted');
  await run('mkdir', [mounted]);
  await run('mount', ['-o', 'loop', image, mounted]);
  try {
    await run('sh', ['-ec', CONTENT, 'sh', mounted]);
  } finally {
    await run('umount', [mounted]);
  }
  return image;
}

describeWith(
  { tools: ['mke2fs', 'e2fsck', 'debugfs', 'python3', 'setfacl', 'mount'], root: true },
  'the ext4 judge',
  () => {
    test('reads the same tree through the kernel and through debugfs', async () => {
      await withTempDirectory(async (directory) => {
        const image = await makeImage(directory);
        const kernel = await readTree(image, { reader: 'kernel' });
        const debugfs = await readTree(image, { reader: 'debugfs' });
        expect(kernel.entries.length).toBe(515);
        expect(diffTrees(kernel.entries, debugfs.entries)).toEqual([]);
        expect(debugfs.entries.map((entry) => [entry.atimeNs, entry.ctimeNs])).toEqual(
          kernel.entries.map((entry) => [entry.atimeNs, entry.ctimeNs]),
        );
        expect(kernel.entries.some((entry) => entry.path === '/lost+found')).toBe(false);
        const kept = await readTree(image, { keepLostAndFound: true });
        expect(kept.entries.some((entry) => entry.path === '/lost+found')).toBe(true);
      });
    });

    test('e2fsck is silent on a sound image and loud on one wrong bit of a bitmap', async () => {
      await withTempDirectory(async (directory) => {
        const image = await makeImage(directory);
        await e2fsck(image);
        const { stdout } = await run('dumpe2fs', [image]);
        const bitmap = Number(/Block bitmap at (\d+)/.exec(stdout.toString())![1]);
        const handle = await open(image, 'r+');
        // Block 0 of the group holds the superblock: it cannot be free.
        await handle.write(Buffer.of(0xfe), 0, 1, bitmap * 4096);
        await handle.close();
        await expect(e2fsck(image)).rejects.toThrow(/exit 4[\s\S]*Block bitmap/);
      });
    });
  },
);
