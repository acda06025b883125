/** Damage to bytes: small and large, anywhere or at fields of a structure. */
import type { FuzzRandom } from './random.ts';

/** Numbers at the edges of fields of 8, 16, 32 and 64 bits, and of what a JavaScript number holds. */
const EDGES = [0n, 1n, 0x7fn, 0x80n, 0xffn, 0x7fffn, 0x8000n, 0xffffn, 0x7fff_ffffn, 0x8000_0000n, 0xffff_ffffn]
  .concat([1n << 32n, (1n << 53n) - 1n, 1n << 53n, (1n << 63n) - 1n, 1n << 63n, (1n << 64n) - 1n])
  .concat([511n, 512n, 4095n, 4096n, 4097n, 65_535n, 65_536n]);

/** Options of {@link mutateBytes}. */
export interface ByteMutation {
  /** Offsets where fields begin: half of the damage goes there. */
  readonly fields?: readonly number[];
  /** Size of a block that is copied or swapped as a whole. */
  readonly block?: number;
  /** Bytes that the format's readers look at. */
  readonly alphabet?: readonly number[];
  /** Whether the length may change; true unless given. */
  readonly resize?: boolean;
}

/** A copy of `bytes` with one to four pieces of damage. */
export function mutateBytes(bytes: Uint8Array, random: FuzzRandom, options: ByteMutation = {}): Uint8Array {
  let out: Uint8Array = bytes.slice();
  for (let i = 1 + random.below(4); i > 0; i--) {
    out = random.oneIn(6) && options.resize !== false ? resized(out, random) : damaged(out, random, options);
    if (out.length === 0) out = new Uint8Array(1);
  }
  return out;
}

function damaged(out: Uint8Array, random: FuzzRandom, options: ByteMutation): Uint8Array {
  const { fields = [], block = 512, alphabet = [0x30, 0x37, 0x39, 0x20, 0x0a, 0x3d, 0x2d, 0x80, 0xff, 0] } = options;
  const at = fields.length > 0 && random.oneIn(2) ? Math.min(random.pick(fields), out.length - 1) : place(out, random);
  switch (random.below(7)) {
    case 0:
      out[at]! ^= 1 << random.below(8);
      break;
    case 1:
      out[at] = random.u32();
      break;
    case 2:
      out[at] = random.pick(alphabet);
      break;
    case 3:
      writeNumber(out, at, random.pick(EDGES), { size: random.pick([1, 2, 4, 8]), bigEndian: random.oneIn(4) });
      break;
    case 4:
      // A number that is a little off.
      addTo(out, at, random.pick([1, -1, 8, -8, 512, -512, 4096]), random.pick([1, 2, 4]));
      break;
    case 5: {
      const from = Math.floor(place(out, random) / block) * block;
      out.copyWithin(Math.floor(at / block) * block, from, from + block);
      break;
    }
    default:
      out.fill(random.oneIn(2) ? 0 : random.u32(), at, Math.min(out.length, at + random.below(64)));
  }
  return out;
}

function resized(out: Uint8Array, random: FuzzRandom): Uint8Array {
  const from = place(out, random);
  const to = random.oneIn(3) ? out.length : from + random.below(600);
  // Cut out a piece, or put one in twice.
  const parts = random.oneIn(2)
    ? [out.subarray(0, from), out.subarray(to)]
    : [out.subarray(0, to), out.subarray(from, to), out.subarray(to)];
  return new Uint8Array(Buffer.concat(parts));
}

/** Half of the time near one of the two ends, where headers and trailers are. */
function place(out: Uint8Array, random: FuzzRandom): number {
  const near = Math.min(out.length, 700);
  const way = random.below(4);
  if (way === 0) return random.below(near);
  if (way === 1) return out.length - 1 - random.below(near);
  return random.below(out.length);
}

function writeNumber(
  out: Uint8Array,
  at: number,
  value: bigint,
  { size, bigEndian }: { readonly size: number; readonly bigEndian: boolean },
): void {
  for (let i = 0; i < size && at + i < out.length; i++) {
    const shift = BigInt(8 * (bigEndian ? size - 1 - i : i));
    out[at + i] = Number((value >> shift) & 0xffn);
  }
}

function addTo(out: Uint8Array, at: number, amount: number, size: number): void {
  let value = 0;
  for (let i = size - 1; i >= 0; i--) value = value * 256 + (out[at + i] ?? 0);
  const sum = BigInt.asUintN(8 * size, BigInt(value + amount));
  writeNumber(out, at, sum, { size, bigEndian: false });
}
