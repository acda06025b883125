/**
 * Where other tools make another tree of the same layers than accel does, one entry for each reason, with who is right.
 * docs/reliability.md has the same list with the sentences of the specification.
 */
import type { TreeEntry } from '../support/tree.ts';

/** One field of one path in which two trees differ; `path` for a path that only one of them has. */
export interface Difference {
  readonly path: string;
  readonly field: (typeof FIELDS)[number] | 'path';
  readonly ours: TreeEntry | undefined;
  readonly theirs: TreeEntry | undefined;
}

/** A reason for differences. */
export interface KnownDifference {
  readonly name: string;
  explains(difference: Difference): boolean;
}

const FIELDS = [
  'type',
  'mode',
  'uid',
  'gid',
  'size',
  'mtimeNs',
  'nlink',
  'firstLink',
  'xattrs',
  'device',
  'target',
  'sha256',
] as const;

/** Everything in which two trees differ. */
export function differencesOf(ours: readonly TreeEntry[], theirs: readonly TreeEntry[]): Difference[] {
  const left = new Map(ours.map((entry) => [entry.path, entry]));
  const right = new Map(theirs.map((entry) => [entry.path, entry]));
  return [...new Set([...left.keys(), ...right.keys()])].sort().flatMap((path): Difference[] => {
    const pair = { path, ours: left.get(path), theirs: right.get(path) };
    const { ours: a, theirs: b } = pair;
    if (a === undefined || b === undefined) return [{ ...pair, field: 'path' }];
    return FIELDS.filter((field) => String(a[field]) !== String(b[field])).map((field) => ({ ...pair, field }));
  });
}

/** A difference as a line. */
export function formatDifference({ path, field, ours, theirs }: Difference): string {
  const show = (entry: TreeEntry | undefined): string =>
    entry === undefined ? 'nothing' : String(field === 'path' ? entry.type : entry[field]).slice(0, 300);
  return `${JSON.stringify(path)} ${field}: ${show(ours)} | ${show(theirs)}`;
}

/** When this process began, in nanoseconds, less an hour for clocks that differ: what is later is the time of unpacking. */
const STARTED = BigInt(Date.now() - 3_600_000) * 1_000_000n;

const directoryTimes: KnownDifference = {
  name: 'directories that the last layer does not name have the time of unpacking',
  explains: ({ field, ours, theirs }) => field === 'mtimeNs' && ours?.type === 'directory' && theirs!.mtimeNs > STARTED,
};

const inheritedGroup: KnownDifference = {
  name: 'a missing parent inherits the group of a setgid directory above it',
  explains: ({ field, ours, theirs }) =>
    (field === 'mode' || field === 'gid') &&
    ours?.type === 'directory' &&
    ours.mode === 0o755 &&
    ours.uid === 0 &&
    theirs!.mode === 0o2755,
};

function lessXattrs(name: string, lost: (name: string, hex: string) => boolean): KnownDifference {
  return {
    name,
    explains: ({ field, ours, theirs }) =>
      field === 'xattrs' && ours!.xattrs.some(([key, hex]) => lost(key, hex)) && isSubset(theirs!, ours!),
  };
}

/** Whether all attributes of `part` are those of `whole`, and what is missing is known to get lost. */
function isSubset(part: TreeEntry, whole: TreeEntry): boolean {
  const kept = new Set(part.xattrs.map(String));
  const missing = whole.xattrs.filter((xattr) => !kept.has(String(xattr)));
  const isKnown = ([key, hex]: readonly [string, string]): boolean => LOST.some((lost) => lost(key, hex));
  return part.xattrs.every((xattr) => whole.xattrs.map(String).includes(String(xattr))) && missing.every(isKnown);
}

const replacedXattrs: KnownDifference = {
  name: 'a directory loses the attributes that a later entry for it does not have',
  explains: ({ field, ours, theirs }) =>
    field === 'xattrs' &&
    ours!.type === 'directory' &&
    theirs!.xattrs.every((xattr) => ours!.xattrs.map(String).includes(String(xattr))) &&
    !isSubset(theirs!, ours!),
};

const isTrusted = (key: string): boolean => key.startsWith('trusted.');
const isOverlay = (key: string): boolean => key.startsWith('trusted.overlay.');
const isEmpty = (_: string, hex: string): boolean => hex === '';
const isAcl = (key: string): boolean => key.startsWith('system.posix_acl_');
const LOST: readonly ((key: string, hex: string) => boolean)[] = [isTrusted, isEmpty, isAcl];

/** umoci 0.4.7. */
export const UMOCI: readonly KnownDifference[] = [
  directoryTimes,
  inheritedGroup,
  replacedXattrs,
  lessXattrs('trusted.overlay.* is left out', isOverlay),
  lessXattrs('attributes without a value are left out', isEmpty),
  {
    name: 'names that AUFS kept for itself are unpacked',
    explains: ({ field, path, ours, theirs }) =>
      (field === 'path' && ours === undefined && (theirs!.type === 'directory' || path.includes('/.wh..wh.'))) ||
      (field === 'nlink' && ours?.type === 'directory' && theirs!.nlink === ours.nlink + 1),
  },
];

/** GNU tar 1.34. */
export const GNU_TAR: readonly KnownDifference[] = [
  directoryTimes,
  lessXattrs('ACLs among the extended attributes are left out', isAcl),
];

/** containerd 1.6 with its native snapshotter; layers with their whiteouts first. */
export const CONTAINERD: readonly KnownDifference[] = [
  directoryTimes,
  {
    name: 'the entry of the root is ignored',
    explains: ({ path, field }) =>
      path === '/' && (field === 'mode' || field === 'uid' || field === 'gid' || field === 'xattrs'),
  },
  {
    name: 'times before 1970 become 1970',
    explains: ({ field, ours, theirs }) => field === 'mtimeNs' && ours!.mtimeNs < 0n && theirs!.mtimeNs === 0n,
  },
  {
    name: 'a missing parent inherits the group of a setgid directory above it',
    explains: ({ field, ours }) =>
      field === 'gid' && ours?.type === 'directory' && ours.mode === 0o755 && ours.gid === 0,
  },
  lessXattrs('trusted.* is left out', isTrusted),
  {
    name: 'missing parents of whiteouts are made, and names that AUFS kept for itself are unpacked',
    explains: ({ field, path, ours, theirs }) =>
      (field === 'path' && ours === undefined && (theirs!.type === 'directory' || path.includes('/.wh..wh.'))) ||
      (field === 'nlink' && ours?.type === 'directory' && theirs!.nlink > ours.nlink),
  },
];
