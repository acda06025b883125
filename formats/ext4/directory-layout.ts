/**
 * Directories in blocks: one block of entries, or an index by hash over leaf blocks (feature `dir_index`), so that a
 * look-up in a directory of 100,000 names reads three blocks. A later layer rewrites only the leaves whose names changed.
 */
import { AccelError } from '../../base/error.ts';
import { printable } from '../bytes/printable.ts';
import { NumberList, orderOf } from '../bytes/radix-sort.ts';
import { CONTENT, type CommitPlan } from './commit-plan.ts';
import { entrySize } from './directory-entries.ts';
import { type DirectoryIndex, leafOf, nodesFor, ROOT_LIMIT } from './directory-index.ts';
import { NameHasher } from './dirhash.ts';
import { BLOCK_SIZE, NAME_MAX } from './layout.ts';
import { type EntryRef, type NameTable, textStart } from './state/name-table.ts';
import type { TreeState } from './state/tree-state.ts';
import { HASH_SEED } from './superblock.ts';

/** Bytes of the entries `.` and `..`. */
const DOTS = 24;
/** Names hashed between two pauses. */
const NAMES_PER_STEP = 4096;

/** Gives the directories of a layer their blocks, one after another. */
export class DirectoryPlanner {
  readonly #state: TreeState;
  readonly #plan: CommitPlan;
  readonly #hasher = new NameHasher(HASH_SEED);

  constructor(state: TreeState, plan: CommitPlan) {
    this.#state = state;
    this.#plan = plan;
  }

  /**
   * Lays the current names of a directory into blocks, keeps as much as possible of how they lay before, allocates the
   * blocks that are missing, and plans those that differ from the last commit. Yields where the caller may pause. Throws
   * `limit-exceeded` when more names share a hash than a block holds (only made on purpose), or are too many altogether.
   */
  *add(directory: number): Generator<undefined> {
    const index = this.#state.indexes.get(directory);
    if (index === undefined && this.#fitsOneBlock(directory)) {
      this.#grow(directory, 1);
      this.#write(directory, 0, { content: CONTENT.names, from: 0, to: 0 });
    } else if (index === undefined) {
      yield* this.#build(directory);
    } else if (index.touched.size > 0) {
      yield* this.#update(directory, index);
    }
  }

  #fitsOneBlock(directory: number): boolean {
    const { names } = this.#state;
    let size = DOTS;
    for (let ref = names.first(directory); ref !== 0 && size <= BLOCK_SIZE; ref = names.next(ref))
      size += entrySize(names.length(ref));
    return size <= BLOCK_SIZE;
  }

  *#build(directory: number): Generator<undefined> {
    const items = yield* this.#items(directory, undefined);
    const parts = items.partition(0, items.count, BLOCK_SIZE);
    const nodeCount = nodesFor(parts.length);
    const nodes = Array.from({ length: nodeCount }, (_, i) => 1 + i);
    const first = 1 + nodeCount;
    const leaves = new Uint32Array(2 * parts.length);
    parts.forEach((from, i) => {
      leaves[2 * i] = i === 0 ? 0 : items.major(from);
      leaves[2 * i + 1] = first + i;
    });
    const index: DirectoryIndex = { leaves, nodes, touched: new Set() };
    this.#state.indexes.set(directory, index);
    this.#grow(directory, first + parts.length);
    this.#planIndex(directory, index);
    this.#planLeaves(directory, items, parts, (i) => first + i);
  }

  *#update(directory: number, index: DirectoryIndex): Generator<undefined> {
    const items = yield* this.#items(directory, index);
    const before = index.leaves;
    const leaves: number[] = [];
    const starts: number[] = [];
    const places: number[] = [];
    let blocks = this.#blocks(directory);
    let at = 0;
    for (let leaf = 0; leaf < before.length / 2; leaf++) {
      const block = before[2 * leaf + 1]!;
      leaves.push(before[2 * leaf]!, block);
      if (!index.touched.has(leaf)) continue;
      const from = at;
      const end = before[2 * leaf + 2] ?? Number.POSITIVE_INFINITY;
      let size = 0;
      while (at < items.count && items.major(at) < end) size += entrySize(items.length(at++));
      // A leaf that overflows is cut into equal parts, so that the next layer's names find room in each.
      const pieces = Math.ceil(size / BLOCK_SIZE);
      const limit = pieces > 1 ? Math.min(BLOCK_SIZE, Math.ceil(size / pieces) + entrySize(NAME_MAX)) : BLOCK_SIZE;
      items.partition(from, at, limit).forEach((start, i) => {
        if (i > 0) leaves.push(items.major(start), blocks);
        starts.push(start);
        places.push(i > 0 ? blocks++ : block);
      });
    }
    const nodes = [...index.nodes];
    const nodeCount = nodesFor(leaves.length / 2);
    while (nodes.length < nodeCount) nodes.push(blocks++);
    const grown = leaves.length !== before.length;
    const now: DirectoryIndex = { leaves: Uint32Array.from(leaves), nodes, touched: new Set() };
    this.#state.indexes.set(directory, now);
    this.#grow(directory, blocks);
    if (grown) this.#planIndex(directory, now);
    this.#planLeaves(directory, items, starts, (i) => places[i]!);
  }

  #planIndex(directory: number, { nodes }: DirectoryIndex): void {
    if (nodes.length > ROOT_LIMIT)
      throw new AccelError('limit-exceeded', 'a directory has too many names', {
        where: { inode: directory },
        expected: `at most ${ROOT_LIMIT} nodes of its index`,
        found: nodes.length,
      });
    this.#write(directory, 0, { content: CONTENT.index, from: 0, to: 0 });
    nodes.forEach((logical, i) => {
      this.#write(directory, logical, { content: CONTENT.index, from: i + 1, to: 0 });
    });
  }

  /** Plans a leaf for each part of the items; `starts` has where each begins, the next one's start or the end closes it. */
  #planLeaves(directory: number, items: Items, starts: readonly number[], place: (leaf: number) => number): void {
    const { names } = this.#plan;
    const base = names.count;
    for (let i = 0; i < items.count; i++) names.push(items.ref(i));
    starts.forEach((start, i) => {
      const to = base + (starts[i + 1] ?? items.count);
      this.#write(directory, place(i), { content: CONTENT.leaf, from: base + start, to });
    });
  }

  #blocks(directory: number): number {
    return this.#state.inodes.size(directory) / BLOCK_SIZE;
  }

  #grow(directory: number, blocks: number): void {
    const had = this.#blocks(directory);
    if (blocks <= had) return;
    this.#state.allocate(directory, had, blocks - had);
    this.#state.inodes.setSize(directory, blocks * BLOCK_SIZE);
  }

  #write(
    inode: number,
    logical: number,
    what: { readonly content: number; readonly from: number; readonly to: number },
  ): void {
    this.#plan.add({ block: this.#state.extents.physical(inode, logical), inode, ...what });
  }

  /** The names of a directory by hash: all of them, or those in the leaves of `index` that were touched. */
  *#items(directory: number, index: DirectoryIndex | undefined): Generator<undefined, Items> {
    const { names } = this.#state;
    const hasher = this.#hasher;
    const found = new Items(names, directory);
    let step = 0;
    for (let ref = names.first(directory); ref !== 0; ref = names.next(ref)) {
      if (++step % NAMES_PER_STEP === 0) yield;
      hasher.hash(names.memory(ref), textStart(ref), names.length(ref));
      if (index === undefined || index.touched.has(leafOf(index.leaves, hasher.major)))
        found.add(ref, hasher.major, hasher.minor);
    }
    found.sort();
    return found;
  }
}

/** Names with their hashes, in the order of the hashes once sorted. */
class Items {
  readonly #names: NameTable;
  readonly #directory: number;
  readonly #refs = new NumberList();
  readonly #majors = new NumberList();
  readonly #minors = new NumberList();
  #order: Uint32Array = new Uint32Array(0);

  constructor(names: NameTable, directory: number) {
    this.#names = names;
    this.#directory = directory;
  }

  get count(): number {
    return this.#refs.count;
  }

  add(ref: EntryRef, major: number, minor: number): void {
    this.#refs.push(ref);
    this.#majors.push(major);
    this.#minors.push(minor);
  }

  ref(i: number): EntryRef {
    return this.#refs.at(this.#order[i]!);
  }

  major(i: number): number {
    return this.#majors.at(this.#order[i]!);
  }

  length(i: number): number {
    return this.#names.length(this.ref(i));
  }

  /** Sorts by hash; throws when the names of one hash do not fit a block. */
  sort(): void {
    this.#order = orderOf(this.#majors.values);
    for (let from = 0; from < this.count; ) {
      let to = from;
      let size = 0;
      while (to < this.count && this.major(to) === this.major(from)) {
        size += entrySize(this.length(to++));
        if (size > BLOCK_SIZE) throw this.#tooManyAlike(from, to);
      }
      if (to - from > 1) this.#order.subarray(from, to).sort((a, b) => this.#compare(a, b));
      from = to;
    }
  }

  /** Cuts items `from` to `to` into runs of at most `limit` bytes, never between two of one hash; where each begins. */
  partition(from: number, to: number, limit: number): number[] {
    const starts = [from];
    let size = 0;
    for (let at = from; at < to; ) {
      const group = at;
      let bytes = 0;
      while (at < to && this.major(at) === this.major(group)) bytes += entrySize(this.length(at++));
      if (size + bytes > limit && size > 0) {
        starts.push(group);
        size = 0;
      }
      size += bytes;
    }
    return starts;
  }

  #compare(a: number, b: number): number {
    const minors = this.#minors.at(a) - this.#minors.at(b);
    return minors || Buffer.compare(this.#names.bytes(this.#refs.at(a)), this.#names.bytes(this.#refs.at(b)));
  }

  #tooManyAlike(from: number, to: number): AccelError {
    return new AccelError('limit-exceeded', 'too many names of a directory have the same hash', {
      where: { inode: this.#directory, name: printable(this.#names.text(this.ref(from))) },
      expected: `at most ${BLOCK_SIZE} bytes of names with one hash`,
      found: `${to - from} names and more`,
    });
  }
}
