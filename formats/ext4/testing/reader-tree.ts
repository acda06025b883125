/** The tree of a file system as accel's own reader sees it, in the records that the foreign judges give. */
import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import type { TreeEntry } from '../../../tests/support/tree.ts';
import type { RawInode } from '../inode.ts';
import { type BlockDevice, Ext4Reader } from '../reader.ts';

/** A raw image in a file as a device; close it in the end. */
export async function openDevice(path: string): Promise<BlockDevice & { close(): Promise<void> }> {
  const handle = await open(path);
  const { size } = await handle.stat();
  return {
    size,
    async read(offset, length) {
      const { buffer, bytesRead } = await handle.read(new Uint8Array(length), 0, length, offset);
      if (bytesRead !== length) throw new Error(`${bytesRead} of ${length} bytes at ${offset}`);
      return buffer;
    },
    close: () => handle.close(),
  };
}

/** Every path of a raw image, sorted, `/lost+found` included. */
export async function readerTree(path: string): Promise<TreeEntry[]> {
  const device = await openDevice(path);
  try {
    return await treeOf(await Ext4Reader.open(device));
  } finally {
    await device.close();
  }
}

/** Every path that a reader gives, sorted. */
export async function treeOf(reader: Ext4Reader): Promise<TreeEntry[]> {
  const out: TreeEntry[] = [];
  const first = new Map<number, string>();
  const entries: { path: string; inode: RawInode }[] = [];
  for await (const entry of reader.walk()) entries.push(entry);
  entries.sort((a, b) => (a.path < b.path ? -1 : 1));
  for (const { path, inode } of entries) {
    if (!first.has(inode.number)) first.set(inode.number, path);
    const { type } = inode;
    const target = type === 'symlink' ? await reader.target(inode) : undefined;
    out.push({
      path,
      type,
      mode: inode.mode,
      uid: inode.uid,
      gid: inode.gid,
      size: type === 'file' || type === 'symlink' ? inode.size : 0,
      mtimeNs: nanoseconds(inode.mtime),
      atimeNs: nanoseconds(inode.atime),
      ctimeNs: nanoseconds(inode.ctime),
      nlink: inode.links,
      firstLink: first.get(inode.number)!,
      xattrs: [...(await reader.xattrs(inode))]
        .map(([name, value]) => [name, Buffer.from(value).toString('hex')] as const)
        .sort(([a], [b]) => (a < b ? -1 : 1)),
      ...(type === 'character' || type === 'block' ? { device: [inode.deviceMajor, inode.deviceMinor] } : {}),
      ...(target === undefined ? {} : { target }),
      ...(type === 'file' ? { sha256: await hashOf(reader, inode) } : {}),
    });
  }
  return out;
}

function nanoseconds(time: { readonly seconds: number; readonly nanoseconds: number }): bigint {
  return BigInt(time.seconds) * 1_000_000_000n + BigInt(time.nanoseconds);
}

async function hashOf(reader: Ext4Reader, inode: RawInode): Promise<string> {
  const hash = createHash('sha256');
  for await (const piece of reader.content(inode)) hash.update(piece);
  return hash.digest('hex');
}
