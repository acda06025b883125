/**
 * POSIX ACLs by the kernel's rules (Linux, fs/posix_acl.c): which ones it accepts, and how the access ACL and the mode
 * of an inode are kept one. Values are in the form of user space (`system.posix_acl_*`, version 2).
 */
import { AccelError } from '../../base/error.ts';
import { viewOf } from '../bytes/struct.ts';

/** Name of the attribute that restricts access to an inode together with its mode. */
export const ACL_ACCESS = 'system.posix_acl_access';
/** Name of the attribute of a directory that new files in it start with. */
export const ACL_DEFAULT = 'system.posix_acl_default';

const VERSION = 2;
const HEADER_SIZE = 4;
const ENTRY_SIZE = 8;
const NO_ID = 0xffff_ffff;

const OWNER = 0x01;
const NAMED_USER = 0x02;
const GROUP = 0x04;
const NAMED_GROUP = 0x08;
const MASK = 0x10;
const OTHER = 0x20;
/** The order of the entries; only the named ones may occur more than once. */
const ORDER = [OWNER, NAMED_USER, GROUP, NAMED_GROUP, MASK, OTHER];

interface AclEntry {
  readonly tag: number;
  readonly permissions: number;
  readonly id: number;
}

/**
 * The ACL that a kernel stores of `value`: undefined for one that says no more than a mode does (no entries; of an access
 * ACL also owner, group and others alone), which takes an existing ACL away. AccelError `layer-unsupported` for one that
 * a kernel refuses.
 */
export function storedAcl(name: typeof ACL_ACCESS | typeof ACL_DEFAULT, value: Uint8Array): Uint8Array | undefined {
  if (value.length === 0) return undefined;
  const entries = parseAcl(value);
  if (entries.length === 0) return undefined;
  const reason = faultOf(entries);
  if (reason !== undefined) throw invalid(value, reason);
  const isMinimal = entries.every(({ tag }) => tag === OWNER || tag === GROUP || tag === OTHER);
  return isMinimal && name === ACL_ACCESS ? undefined : value;
}

/**
 * An access ACL under the mode of its inode, as `chmod` leaves it: the owner's entry, the mask (or the group's entry
 * where there is no mask) and the others' entry have the permissions of the mode.
 */
export function aclUnderMode(value: Uint8Array, mode: number): Uint8Array {
  const entries = parseAcl(value);
  const groupTag = entries.some(({ tag }) => tag === MASK) ? MASK : GROUP;
  const bits = new Map([
    [OWNER, (mode >> 6) & 7],
    [groupTag, (mode >> 3) & 7],
    [OTHER, mode & 7],
  ]);
  if (entries.every(({ tag, permissions }) => (bits.get(tag) ?? permissions) === permissions)) return value;
  const out = Uint8Array.from(value);
  const view = viewOf(out);
  for (const [i, { tag, permissions }] of entries.entries())
    view.setUint16(HEADER_SIZE + i * ENTRY_SIZE + 2, bits.get(tag) ?? permissions, true);
  return out;
}

function parseAcl(value: Uint8Array): AclEntry[] {
  const view = viewOf(value);
  if (value.length < HEADER_SIZE || (value.length - HEADER_SIZE) % ENTRY_SIZE !== 0)
    throw invalid(value, `${value.length} bytes`);
  const version = view.getUint32(0, true);
  if (version !== VERSION) throw invalid(value, `version ${version}`);
  const entries: AclEntry[] = [];
  for (let at = HEADER_SIZE; at < value.length; at += ENTRY_SIZE) {
    entries.push({
      tag: view.getUint16(at, true),
      permissions: view.getUint16(at + 2, true),
      id: view.getUint32(at + 4, true),
    });
  }
  return entries;
}

/** The reason why a kernel refuses the entries, or undefined. */
function faultOf(entries: readonly AclEntry[]): string | undefined {
  let reached = -1;
  const seen = new Set<number>();
  for (const { tag, permissions, id } of entries) {
    const place = ORDER.indexOf(tag);
    const isNamed = tag === NAMED_USER || tag === NAMED_GROUP;
    if (place < 0) return `an entry with the tag 0x${tag.toString(16)}`;
    if (place < reached) return 'entries out of order';
    if (place === reached && !isNamed) return 'two entries where only one may be';
    if (permissions > 7) return `the permissions 0x${permissions.toString(16)}`;
    if (isNamed && id === NO_ID) return 'a named user or group without a number';
    reached = place;
    seen.add(tag);
  }
  if (!seen.has(OWNER)) return 'no entry for the owner';
  if (!seen.has(GROUP)) return 'no entry for the group';
  if (!seen.has(OTHER)) return 'no entry for others';
  if ((seen.has(NAMED_USER) || seen.has(NAMED_GROUP)) && !seen.has(MASK)) return 'named users or groups without a mask';
  return undefined;
}

function invalid(value: Uint8Array, reason: string): AccelError {
  return new AccelError('layer-unsupported', 'the layer holds a POSIX ACL that Linux does not accept', {
    expected:
      'version 2; one owner, named users, one group, named groups, a mask if any are named, others, in this order',
    found: `${reason} (${Buffer.from(value.subarray(0, 64)).toString('hex')}${value.length > 64 ? '…' : ''})`,
    hint: 'No container runtime unpacks this layer: build it again without the ACL, or with one that setfacl made.',
  });
}
