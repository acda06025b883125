/**
 * POSIX ACLs. A tar carries them in the kernel's form for user space (`system.posix_acl_*`, version 2, every entry with
 * an id); ext4 stores version 1, where only named users and groups have an id.
 */
import { AccelError } from '../../base/error.ts';
import { viewOf } from '../bytes/struct.ts';

const USER_VERSION = 2;
const DISK_VERSION = 1;
const NO_ID = 0xffff_ffff;
const TAG_USER = 0x02;
const TAG_GROUP = 0x08;
/** Owner, named user, owning group, named group, mask, others. */
const TAGS = new Set([0x01, TAG_USER, 0x04, TAG_GROUP, 0x10, 0x20]);

interface AclEntry {
  readonly tag: number;
  readonly permissions: number;
  readonly id: number;
}

const hasId = (tag: number): boolean => tag === TAG_USER || tag === TAG_GROUP;

/** User-space form to ext4's. AccelError `layer-unsupported` when the value is no ACL. */
export function encodeAcl(value: Uint8Array): Uint8Array {
  const view = viewOf(value);
  if (value.length < 4 || (value.length - 4) % 8 !== 0 || view.getUint32(0, true) !== USER_VERSION)
    throw invalid(value);
  const entries: AclEntry[] = [];
  for (let at = 4; at < value.length; at += 8) {
    const tag = view.getUint16(at, true);
    if (!TAGS.has(tag)) throw invalid(value);
    entries.push({ tag, permissions: view.getUint16(at + 2, true), id: view.getUint32(at + 4, true) });
  }
  const out = new Uint8Array(entries.reduce((size, entry) => size + (hasId(entry.tag) ? 8 : 4), 4));
  const target = viewOf(out);
  target.setUint32(0, DISK_VERSION, true);
  let at = 4;
  for (const entry of entries) {
    target.setUint16(at, entry.tag, true);
    target.setUint16(at + 2, entry.permissions, true);
    if (hasId(entry.tag)) target.setUint32(at + 4, entry.id, true);
    at += hasId(entry.tag) ? 8 : 4;
  }
  return out;
}

/** ext4's form to user space's. AccelError `ext4-invalid` when the stored bytes are no ACL. */
export function decodeAcl(value: Uint8Array): Uint8Array {
  const view = viewOf(value);
  const entries: AclEntry[] = [];
  let at = 4;
  while (at + 4 <= value.length) {
    const tag = view.getUint16(at, true);
    const size = hasId(tag) ? 8 : 4;
    if (!TAGS.has(tag) || at + size > value.length) break;
    entries.push({
      tag,
      permissions: view.getUint16(at + 2, true),
      id: hasId(tag) ? view.getUint32(at + 4, true) : NO_ID,
    });
    at += size;
  }
  if (value.length < 4 || at !== value.length || view.getUint32(0, true) !== DISK_VERSION) {
    throw new AccelError('ext4-invalid', 'a stored POSIX ACL is damaged', {
      found: Buffer.from(value).toString('hex'),
    });
  }
  const out = new Uint8Array(4 + entries.length * 8);
  const target = viewOf(out);
  target.setUint32(0, USER_VERSION, true);
  entries.forEach((entry, i) => {
    target.setUint16(4 + i * 8, entry.tag, true);
    target.setUint16(6 + i * 8, entry.permissions, true);
    target.setUint32(8 + i * 8, entry.id, true);
  });
  return out;
}

function invalid(value: Uint8Array): AccelError {
  return new AccelError('layer-unsupported', 'a POSIX ACL is not in the form of the system.posix_acl_* attributes', {
    expected: 'version 2 and entries of 8 bytes',
    found: Buffer.from(value.subarray(0, 16)).toString('hex'),
  });
}
