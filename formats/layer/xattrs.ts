/** Selects the extended attributes of an entry that an inode gets: those that Linux would store on it, in the form it would have. */
import { AccelError } from '../../base/error.ts';
import { viewOf } from '../bytes/struct.ts';
import { ACL_ACCESS, ACL_DEFAULT, aclUnderMode, storedAcl } from './acl.ts';
import type { NodeKind, Xattrs } from './tree.ts';

/** The attribute that holds the capabilities of a program. */
const CAPABILITY = 'security.capability';
const PREFIXES = ['user.', 'trusted.', 'security.'];
/** Revisions of the capability attribute that Linux lets be set, with their sizes (linux/capability.h). */
const CAPABILITY_SIZES: ReadonlyMap<number, number> = new Map([
  [0x0200_0000, 20],
  [0x0300_0000, 24],
]);
const CAPABILITY_REVISION = 0xff00_0000;

/** Why an attribute is left out: Linux stores it nowhere, or not on this kind of inode. */
export type LeftOut = 'nowhere' | 'not on this kind';

/** Whether, and where, Linux stores an attribute: undefined if it does on a `kind`. */
export function leftOut(name: string, kind: NodeKind): LeftOut | undefined {
  if (name === ACL_ACCESS) return kind === 'symlink' ? 'not on this kind' : undefined;
  if (name === ACL_DEFAULT) return kind === 'directory' ? undefined : 'not on this kind';
  // Of `system.` no file system of a node stores anything but the two ACLs.
  if (!PREFIXES.some((prefix) => name.startsWith(prefix) && name.length > prefix.length)) return 'nowhere';
  const isUser = name.startsWith('user.');
  return isUser && kind !== 'file' && kind !== 'directory' ? 'not on this kind' : undefined;
}

/**
 * The attributes of an inode after an entry with `added` was applied to `current`, under the inode's mode. An ACL that
 * says no more than the mode takes one away, and the mode has the last word over the access ACL, as when a runtime sets
 * attributes and then the mode. AccelError `layer-unsupported` for values that Linux refuses.
 */
export function xattrsAfter(current: Xattrs, added: Xattrs, mode: number): Xattrs {
  if (added.size === 0 && (current.size === 0 || !current.has(ACL_ACCESS))) return current;
  const after = new Map(current);
  for (const [name, value] of added) {
    const stored = name === ACL_ACCESS || name === ACL_DEFAULT ? storedAcl(name, value) : value;
    if (name === CAPABILITY) checkCapability(value);
    if (stored === undefined) after.delete(name);
    else after.set(name, stored);
  }
  const acl = after.get(ACL_ACCESS);
  if (acl !== undefined) after.set(ACL_ACCESS, aclUnderMode(acl, mode));
  return after;
}

/** The attributes that an inode keeps when its owner is set: Linux takes capabilities away, except from a directory. */
export function xattrsAfterChown(current: Xattrs, kind: NodeKind): Xattrs {
  if (kind === 'directory' || !current.has(CAPABILITY)) return current;
  return new Map([...current].filter(([name]) => name !== CAPABILITY));
}

/** Whether two sets hold the same attributes with the same values. */
export function sameXattrs(a: Xattrs, b: Xattrs): boolean {
  if (a === b) return true;
  return (
    a.size === b.size &&
    [...a].every(([name, value]) => {
      const other = b.get(name);
      return other !== undefined && Buffer.compare(value, other) === 0;
    })
  );
}

function checkCapability(value: Uint8Array): void {
  const revision = value.length < 4 ? 0 : (viewOf(value).getUint32(0, true) & CAPABILITY_REVISION) >>> 0;
  if (CAPABILITY_SIZES.get(revision) === value.length) return;
  throw new AccelError('layer-unsupported', `the layer holds a ${CAPABILITY} that Linux does not accept`, {
    expected: 'revision 2 in 20 bytes, or revision 3 in 24',
    found: `${value.length} bytes: ${Buffer.from(value.subarray(0, 32)).toString('hex')}`,
    hint: 'No container runtime unpacks this layer: build it again, with capabilities that setcap made.',
  });
}
