import { describe, expect, test } from 'vitest';
import { ACL_ACCESS, ACL_DEFAULT, aclUnderMode, storedAcl } from './acl.ts';
import { acl, GROUP, MASK, NAMED_GROUP, NAMED_USER, OTHER, OWNER } from './testing/acl-builder.ts';

const OWN: readonly [number, number] = [OWNER, 6];
const FULL = acl(OWN, [NAMED_USER, 7, 1000], [GROUP, 4], [NAMED_GROUP, 1, 42], [MASK, 7], [OTHER, 0]);

describe('storedAcl', () => {
  test.each([
    ['every tag', FULL],
    ['two named users', acl(OWN, [NAMED_USER, 7, 2], [NAMED_USER, 7, 1], [GROUP, 4], [MASK, 7], [OTHER, 0])],
    ['one user named twice', acl(OWN, [NAMED_USER, 7, 1], [NAMED_USER, 4, 1], [GROUP, 4], [MASK, 7], [OTHER, 0])],
    ['a mask and nobody named', acl(OWN, [GROUP, 4], [MASK, 4], [OTHER, 4])],
  ])('%s is stored as it is', (_, value) => {
    expect(storedAcl(ACL_ACCESS, value)).toBe(value);
    expect(storedAcl(ACL_DEFAULT, value)).toBe(value);
  });

  test('an ACL without entries is removed', () => {
    for (const value of [new Uint8Array(0), acl()]) {
      expect(storedAcl(ACL_ACCESS, value)).toBeUndefined();
      expect(storedAcl(ACL_DEFAULT, value)).toBeUndefined();
    }
  });

  test('an ACL of owner, group and others alone is removed as an access ACL, and kept as the default ACL', () => {
    const minimal = acl(OWN, [GROUP, 4], [OTHER, 0]);
    expect(storedAcl(ACL_ACCESS, minimal)).toBeUndefined();
    expect(storedAcl(ACL_DEFAULT, minimal)).toBe(minimal);
  });

  test.each([
    ['entries out of order', acl([GROUP, 4], OWN, [OTHER, 0])],
    ['two entries where only one may be', acl(OWN, OWN, [GROUP, 4], [OTHER, 0])],
    ['two entries where only one may be', acl(OWN, [GROUP, 4], [MASK, 4], [MASK, 4], [OTHER, 0])],
    ['entries out of order', acl(OWN, [GROUP, 4], [NAMED_USER, 4, 1], [MASK, 4], [OTHER, 0])],
    ['entries out of order', acl(OWN, [GROUP, 4], [MASK, 4], [NAMED_GROUP, 4, 1], [OTHER, 0])],
    ['no entry for the owner', acl([GROUP, 4], [OTHER, 0])],
    ['no entry for the group', acl(OWN, [OTHER, 0])],
    ['no entry for others', acl(OWN, [GROUP, 4])],
    ['named users or groups without a mask', acl(OWN, [NAMED_USER, 4, 1], [GROUP, 4], [OTHER, 0])],
    ['named users or groups without a mask', acl(OWN, [GROUP, 4], [NAMED_GROUP, 4, 1], [OTHER, 0])],
    ['an entry with the tag 0x40', acl(OWN, [GROUP, 4], [0x40, 4], [OTHER, 0])],
    ['the permissions 0x8', acl([OWNER, 8], [GROUP, 4], [OTHER, 0])],
    [
      'a named user or group without a number',
      acl(OWN, [NAMED_USER, 4, 0xffff_ffff], [GROUP, 4], [MASK, 4], [OTHER, 0]),
    ],
    ['version 1', Uint8Array.of(1, 0, 0, 0)],
    ['3 bytes', Uint8Array.of(2, 0, 0)],
    ['11 bytes', FULL.subarray(0, 11)],
  ])('%s is refused', (found, value) => {
    for (const name of [ACL_ACCESS, ACL_DEFAULT] as const) {
      expect(() => storedAcl(name, value)).toThrow(
        expect.objectContaining({ code: 'layer-unsupported', found: expect.stringMatching(`^${found} \\(`) }),
      );
    }
  });
});

describe('aclUnderMode', () => {
  test.each([
    [0o644, acl([OWNER, 6], [NAMED_USER, 7, 1000], [GROUP, 4], [NAMED_GROUP, 1, 42], [MASK, 4], [OTHER, 4])],
    [0o4711, acl([OWNER, 7], [NAMED_USER, 7, 1000], [GROUP, 4], [NAMED_GROUP, 1, 42], [MASK, 1], [OTHER, 1])],
    [0, acl([OWNER, 0], [NAMED_USER, 7, 1000], [GROUP, 4], [NAMED_GROUP, 1, 42], [MASK, 0], [OTHER, 0])],
  ])('mode 0%i (decimal) has the last word over owner, mask and others', (mode, expected) => {
    expect(aclUnderMode(FULL, mode)).toEqual(expected);
  });

  test('without a mask the group has the permissions of the mode', () => {
    expect(aclUnderMode(acl([OWNER, 0], [GROUP, 0], [OTHER, 0]), 0o751)).toEqual(
      acl([OWNER, 7], [GROUP, 5], [OTHER, 1]),
    );
  });

  test('one that agrees is not copied', () => {
    expect(aclUnderMode(FULL, 0o670)).toBe(FULL);
  });
});
