/** A source tree in the form in which the tests' own judges write trees. */
import type { TreeEntry } from '../../../tests/support/tree.ts';
import type { SourceNode } from '../node.ts';

/** Every path of the tree, sorted by bytes; a hash by another rule than plain SHA-256 is left out. */
export function entriesOf(root: SourceNode): TreeEntry[] {
  const listed: { readonly path: string; readonly node: SourceNode }[] = [];
  const pending = [{ path: '/', node: root }];
  for (let at = pending.pop(); at !== undefined; at = pending.pop()) {
    listed.push(at);
    for (const name of at.node.names)
      pending.push({ path: `${at.path === '/' ? '' : at.path}/${name}`, node: at.node.child(name)! });
  }
  listed.sort((a, b) => (a.path < b.path ? -1 : 1));
  const first = new Map<number, string>();
  return listed.map(({ path, node }) => {
    if (!first.has(node.id)) first.set(node.id, path);
    const { attributes: a } = node;
    const xattrs = [...a.xattrs].map(([name, value]) => [name, Buffer.from(value).toString('hex')] as const);
    return {
      path,
      type: a.type,
      mode: a.mode,
      uid: a.uid,
      gid: a.gid,
      size: a.size,
      mtimeNs: BigInt(a.mtime.seconds) * 1_000_000_000n + BigInt(a.mtime.nanoseconds),
      nlink: node.links,
      firstLink: first.get(node.id)!,
      xattrs: xattrs.sort(([x], [y]) => (x < y ? -1 : 1)),
      ...(a.type === 'character' || a.type === 'block' ? { device: [a.deviceMajor, a.deviceMinor] as const } : {}),
      ...(a.target === undefined ? {} : { target: a.target }),
      ...(a.content?.rule === 'sha256' ? { sha256: a.content.hex } : {}),
    };
  });
}
