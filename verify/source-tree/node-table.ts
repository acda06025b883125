/**
 * The inodes of a source tree, column by column in pages of typed arrays: a million files take about 60 bytes each. Numbers
 * are never used again.
 */
import type { NodeAttributes, NodeKind, Xattrs } from '../../formats/layer/tree.ts';
import { NumberColumn } from './columns.ts';
import type { ContentHash, HashRule } from './content-hash.ts';

const KINDS: readonly NodeKind[] = ['file', 'directory', 'symlink', 'character', 'block', 'fifo'];
const RULES: readonly HashRule[] = ['sha256', 'sha256-of-blocks'];
const MODE_BITS = 0o7777;
const KIND_SHIFT = 12;

/** Bytes of a SHA-256. */
const HASH = 32;
/** Hashes of a page: 1 MiB. */
const PAGE_BITS = 15;
const PAGE_ROWS = 1 << PAGE_BITS;
const PAGE_MASK = PAGE_ROWS - 1;
const NO_XATTRS: Xattrs = new Map();

/** The inodes, numbered from 1; what is not a directory may have several names. */
export class NodeTable {
  #count = 0;
  readonly #kindAndMode = new NumberColumn(Uint16Array);
  readonly #uid = new NumberColumn(Uint32Array);
  readonly #gid = new NumberColumn(Uint32Array);
  readonly #seconds = new NumberColumn(Float64Array);
  readonly #nanoseconds = new NumberColumn(Uint32Array);
  readonly #size = new NumberColumn(Float64Array);
  readonly #links = new NumberColumn(Uint32Array);
  readonly #xattrs = new NumberColumn(Uint32Array);
  /** A directory's parent, a symlink's text, a device's row of {@link #devices}, the row of a file's hash plus one. */
  readonly #payload = new NumberColumn(Uint32Array);
  readonly #targets: string[] = [];
  readonly #devices: (readonly [number, number])[] = [];
  readonly #hashes: Uint8Array[] = [];
  #hashCount = 0;
  readonly #hashRule = new NumberColumn(Uint16Array);
  /** Sets of attributes, each once, by a text that says them. */
  readonly #sets: Xattrs[] = [NO_XATTRS];
  readonly #setNumbers = new Map<string, number>();
  #lastSet: { readonly xattrs: Xattrs; readonly number: number } = { xattrs: NO_XATTRS, number: 0 };

  /** Adds an inode without a name. */
  add(kind: NodeKind, attributes: NodeAttributes): number {
    const node = ++this.#count;
    this.#kindAndMode.set(node, KINDS.indexOf(kind) << KIND_SHIFT);
    this.setAttributes(node, attributes);
    return node;
  }

  kind(node: number): NodeKind {
    return KINDS[this.#kindAndMode.get(node) >>> KIND_SHIFT]!;
  }

  attributes(node: number): NodeAttributes {
    return {
      mode: this.#kindAndMode.get(node) & MODE_BITS,
      uid: this.#uid.get(node),
      gid: this.#gid.get(node),
      mtime: { seconds: this.#seconds.get(node), nanoseconds: this.#nanoseconds.get(node) },
    };
  }

  setAttributes(node: number, { mode, uid, gid, mtime }: NodeAttributes): void {
    this.#kindAndMode.set(node, (this.#kindAndMode.get(node) & ~MODE_BITS) | mode);
    this.#uid.set(node, uid);
    this.#gid.set(node, gid);
    this.#seconds.set(node, mtime.seconds);
    this.#nanoseconds.set(node, mtime.nanoseconds);
  }

  size(node: number): number {
    return this.#size.get(node);
  }

  setSize(node: number, size: number): void {
    this.#size.set(node, size);
  }

  links(node: number): number {
    return this.#links.get(node);
  }

  setLinks(node: number, links: number): void {
    this.#links.set(node, links);
  }

  /** The directory that holds a directory. */
  parent(directory: number): number {
    return this.#payload.get(directory);
  }

  setParent(directory: number, parent: number): void {
    this.#payload.set(directory, parent);
  }

  /** Text of a symlink. */
  target(symlink: number): string {
    return this.#targets[this.#payload.get(symlink)]!;
  }

  setTarget(symlink: number, target: string): void {
    this.#payload.set(symlink, this.#targets.push(target) - 1);
    this.setSize(symlink, target.length);
  }

  /** Major and minor number of a device. */
  device(node: number): readonly [number, number] {
    return this.#devices[this.#payload.get(node)]!;
  }

  setDevice(node: number, major: number, minor: number): void {
    this.#payload.set(node, this.#devices.push([major, minor]) - 1);
  }

  xattrs(node: number): Xattrs {
    return this.#sets[this.#xattrs.get(node)]!;
  }

  setXattrs(node: number, xattrs: Xattrs): void {
    if (this.#lastSet.xattrs !== xattrs) this.#lastSet = { xattrs, number: this.#setNumber(xattrs) };
    this.#xattrs.set(node, this.#lastSet.number);
  }

  /** The hash of a file's content, if it has one. */
  content(file: number): ContentHash | undefined {
    const row = this.#payload.get(file) - 1;
    if (row < 0) return undefined;
    const page = this.#hashes[row >>> PAGE_BITS]!;
    const at = (row & PAGE_MASK) * HASH;
    const hex = Buffer.from(page.buffer, page.byteOffset + at, HASH).toString('hex');
    return { rule: RULES[this.#hashRule.get(row)]!, hex };
  }

  setContent(file: number, { rule, hex }: ContentHash): void {
    const row = this.#hashCount++;
    if ((row & PAGE_MASK) === 0) this.#hashes.push(new Uint8Array(PAGE_ROWS * HASH));
    Buffer.from(this.#hashes[row >>> PAGE_BITS]!.buffer, (row & PAGE_MASK) * HASH, HASH).write(hex, 'hex');
    this.#hashRule.set(row, RULES.indexOf(rule));
    this.#payload.set(file, row + 1);
  }

  #setNumber(xattrs: Xattrs): number {
    if (xattrs.size === 0) return 0;
    const text = [...xattrs].map(([name, value]) => `${name.length}:${name}${value.length}:${hexOf(value)}`).join();
    const known = this.#setNumbers.get(text);
    if (known !== undefined) return known;
    const number = this.#sets.push(xattrs) - 1;
    this.#setNumbers.set(text, number);
    return number;
  }
}

function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
}
