/**
 * References by 32-bit hash, in 256 tables by the hash's upper bits that each double when they are nearly full: no insertion waits
 * for more than its own to be copied. A look-up reads hashes side by side, and the record of a name only where the hash is equal.
 */
import type { MemoryBudget } from './memory-budget.ts';

const TABLE_BITS = 8;
const TABLE_SHIFT = 32 - TABLE_BITS;
const FIRST_SLOTS = 16;
/** Bytes of a slot: hash and reference. */
const SLOT_BYTES = 8;

interface Table {
  /** Pairs of hash and reference; a reference of 0 marks a free slot. As many as a power of two. */
  slots: Uint32Array;
  count: number;
}

/** A set of references (not 0) with their hashes, of which several may be equal. */
export class NameIndex {
  readonly #memory: MemoryBudget;
  readonly #tables: (Table | undefined)[] = new Array(1 << TABLE_BITS).fill(undefined);
  /** Where {@link next} continues. */
  #slots: Uint32Array = new Uint32Array(2);
  #at = 0;
  #hash = 0;

  constructor(memory: MemoryBudget) {
    this.#memory = memory;
  }

  /** The first reference with this hash, 0 without one; {@link next} has the others. */
  first(hash: number): number {
    const table = this.#tables[hash >>> TABLE_SHIFT];
    if (table === undefined) return 0;
    this.#slots = table.slots;
    this.#hash = hash;
    return this.#seek(startOf(table.slots, hash));
  }

  /** The next reference with the hash that {@link first} was asked for; nothing may have changed since. */
  next(): number {
    return this.#seek((this.#at + 2) & (this.#slots.length - 1));
  }

  /** Adds a reference. Throws `limit-exceeded` when memory runs out. */
  add(hash: number, ref: number): void {
    const number = hash >>> TABLE_SHIFT;
    const table = this.#tables[number] ?? this.#create(number);
    // Four in three: probes stay short.
    if (table.count * SLOT_BYTES >= table.slots.length * 3) this.#grow(table);
    table.count++;
    insert(table.slots, hash, ref);
  }

  /** Takes a reference out that is there. */
  remove(hash: number, ref: number): void {
    const table = this.#tables[hash >>> TABLE_SHIFT]!;
    const { slots } = table;
    const mask = slots.length - 1;
    let free = startOf(slots, hash);
    while (slots[free + 1] !== ref) free = (free + 2) & mask;
    table.count--;
    // The entries after it move up where their probes passed the free slot, so that no probe ends early.
    for (let at = (free + 2) & mask; slots[at + 1] !== 0; at = (at + 2) & mask) {
      const start = startOf(slots, slots[at]!);
      if (((at - start) & mask) < ((at - free) & mask)) continue;
      slots[free] = slots[at]!;
      slots[free + 1] = slots[at + 1]!;
      free = at;
    }
    slots[free + 1] = 0;
  }

  #seek(from: number): number {
    const slots = this.#slots;
    const mask = slots.length - 1;
    let at = from;
    while (slots[at + 1] !== 0 && slots[at] !== this.#hash) at = (at + 2) & mask;
    this.#at = at;
    return slots[at + 1]!;
  }

  #create(number: number): Table {
    this.#memory.take(FIRST_SLOTS * SLOT_BYTES);
    const table = { slots: new Uint32Array(2 * FIRST_SLOTS), count: 0 };
    this.#tables[number] = table;
    return table;
  }

  #grow(table: Table): void {
    const { slots } = table;
    this.#memory.take(2 * slots.byteLength);
    const wider = new Uint32Array(2 * slots.length);
    for (let at = 0; at < slots.length; at += 2) if (slots[at + 1] !== 0) insert(wider, slots[at]!, slots[at + 1]!);
    table.slots = wider;
    this.#memory.give(slots.byteLength);
  }
}

function startOf(slots: Uint32Array, hash: number): number {
  return (hash << 1) & (slots.length - 1);
}

function insert(slots: Uint32Array, hash: number, ref: number): void {
  const mask = slots.length - 1;
  let at = startOf(slots, hash);
  while (slots[at + 1] !== 0) at = (at + 2) & mask;
  slots[at] = hash;
  slots[at + 1] = ref;
}
