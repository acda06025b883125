/** POSIX ACLs in the form of the `system.posix_acl_*` attributes, sound or not. */

/** Tags of the entries (linux/posix_acl.h). */
export const OWNER = 0x01;
/** See {@link OWNER}. */
export const NAMED_USER = 0x02;
/** See {@link OWNER}. */
export const GROUP = 0x04;
/** See {@link OWNER}. */
export const NAMED_GROUP = 0x08;
/** See {@link OWNER}. */
export const MASK = 0x10;
/** See {@link OWNER}. */
export const OTHER = 0x20;

const NO_ID = 0xffff_ffff;

/** An ACL of version 2 with these entries: tag, permissions, and the number of a named user or group. */
export function acl(...entries: readonly (readonly [tag: number, permissions: number, id?: number])[]): Uint8Array {
  const out = new Uint8Array(4 + 8 * entries.length);
  const view = new DataView(out.buffer);
  view.setUint32(0, 2, true);
  for (const [i, [tag, permissions, id]] of entries.entries()) {
    view.setUint16(4 + 8 * i, tag, true);
    view.setUint16(6 + 8 * i, permissions, true);
    view.setUint32(8 + 8 * i, id ?? NO_ID, true);
  }
  return out;
}
