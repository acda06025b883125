/**
 * On-disk structures as declarative tables: the field names of the specification in their order, each with its codec.
 * Offsets are computed, the total is asserted, so a table can be compared with the specification line by line.
 */
import { AccelError } from '../../base/error.ts';

/** The layout of one field: its size in bytes, and the functions that read and write its value in a DataView. */
export interface Field<T> {
  /** Bytes that the field takes. */
  readonly size: number;
  /** The value at `offset`. */
  get(view: DataView, offset: number): T;
  /** Writes `value` at `offset`; throws RangeError if it does not fit. */
  set(view: DataView, offset: number, value: T): void;
  /** The value an omitted field is written as. */
  readonly zero: T;
}

type Table = Record<string, Field<unknown>>;

/** The plain record that a table of fields describes. */
export type StructValue<F extends Table> = { [K in keyof F]: F[K] extends Field<infer T> ? T : never };

/** A structure with the fields of a table: sizes and offsets in bytes, little-endian. */
export interface Struct<F extends Table> {
  /** Name in the specification, for messages. */
  readonly name: string;
  /** Total size in bytes. */
  readonly size: number;
  /** Byte offset of each field. */
  readonly offsets: { readonly [K in keyof F]: number };
  /** Reads the structure at `offset` of `bytes`; throws `RangeError` if it does not fit. */
  read(bytes: Uint8Array, offset?: number): StructValue<F>;
  /** Writes the given fields (the others as zero) at `offset` of `bytes`. */
  write(bytes: Uint8Array, offset: number, value: Partial<StructValue<F>>): void;
  /** The structure as new bytes. */
  encode(value: Partial<StructValue<F>>): Uint8Array;
}

/**
 * Defines a structure. `size` is what the specification says; a table that adds up to anything else is a defect and
 * throws at module load.
 */
export function struct<F extends Table>(name: string, size: number, fields: F): Struct<F> {
  const entries: { key: string; field: Field<unknown>; offset: number }[] = [];
  let total = 0;
  for (const [key, field] of Object.entries(fields)) {
    entries.push({ key, field, offset: total });
    total += field.size;
  }
  if (total !== size)
    throw new AccelError('internal', `struct ${name} is ${total} bytes`, { expected: size, found: total });
  const self: Struct<F> = {
    name,
    size,
    offsets: Object.fromEntries(entries.map((e) => [e.key, e.offset])) as { [K in keyof F]: number },
    read(bytes, offset = 0) {
      const view = viewOf(bytes);
      const out: Record<string, unknown> = {};
      for (const e of entries) out[e.key] = e.field.get(view, offset + e.offset);
      return out as StructValue<F>;
    },
    write(bytes, offset, value) {
      const view = viewOf(bytes);
      const given = value as Record<string, unknown>;
      for (const e of entries) {
        const field = given[e.key];
        e.field.set(view, offset + e.offset, field === undefined ? e.field.zero : field);
      }
    },
    encode(value) {
      const bytes = new Uint8Array(size);
      self.write(bytes, 0, value);
      return bytes;
    },
  };
  return self;
}

/** A DataView over exactly the bytes of `bytes`. */
export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function integer(
  size: number,
  [min, max]: readonly [min: number, max: number],
  get: Field<number>['get'],
  set: Field<number>['set'],
): Field<number> {
  return {
    size,
    zero: 0,
    get,
    set(view, offset, value) {
      if (!Number.isInteger(value) || value < min || value > max)
        throw new RangeError(`${value} is not in ${min}..${max}`);
      set(view, offset, value);
    },
  };
}

/** Unsigned byte. */
export const u8 = integer(
  1,
  [0, 0xff],
  (v, o) => v.getUint8(o),
  (v, o, x) => v.setUint8(o, x),
);
/** Signed byte. */
export const i8 = integer(
  1,
  [-0x80, 0x7f],
  (v, o) => v.getInt8(o),
  (v, o, x) => v.setInt8(o, x),
);
/** Unsigned 16-bit, little-endian. */
export const u16 = integer(
  2,
  [0, 0xffff],
  (v, o) => v.getUint16(o, true),
  (v, o, x) => v.setUint16(o, x, true),
);
/** Unsigned 32-bit, little-endian. */
export const u32 = integer(
  4,
  [0, 0xffff_ffff],
  (v, o) => v.getUint32(o, true),
  (v, o, x) => v.setUint32(o, x, true),
);
/** Signed 32-bit, little-endian. */
export const i32 = integer(
  4,
  [-0x8000_0000, 0x7fff_ffff],
  (v, o) => v.getInt32(o, true),
  (v, o, x) => v.setInt32(o, x, true),
);

/** Unsigned 64-bit as a `number`; reading or writing a value past 2^53-1 throws RangeError. */
export const u64 = integer(8, [0, Number.MAX_SAFE_INTEGER], getU64, setU64);
/** Signed 64-bit that the format never uses below zero (`i64`, `off_t`), as a `number`; same bounds as {@link u64}. */
export const i64 = u64;

function getU64(view: DataView, offset: number): number {
  const high = view.getUint32(offset + 4, true);
  if (high > 0x1f_ffff) throw new RangeError(`64-bit value at byte ${offset} is past 2^53-1`);
  return high * 0x1_0000_0000 + view.getUint32(offset, true);
}

function setU64(view: DataView, offset: number, value: number): void {
  view.setUint32(offset, value >>> 0, true);
  view.setUint32(offset + 4, Math.floor(value / 0x1_0000_0000), true);
}

/** `size` bytes as they are; a shorter value is padded with zeros, a longer one throws RangeError. */
export function bytes(size: number): Field<Uint8Array> {
  return {
    size,
    zero: new Uint8Array(0),
    get: (view, offset) => new Uint8Array(view.buffer, view.byteOffset + offset, size).slice(),
    set(view, offset, value) {
      if (value.length > size) throw new RangeError(`${value.length} bytes in a field of ${size}`);
      const target = new Uint8Array(view.buffer, view.byteOffset + offset, size);
      target.fill(0);
      target.set(value);
    },
  };
}

/** NUL-terminated Latin-1 text in `size` bytes (so that any byte survives); without a NUL it fills the field. */
export function text(size: number): Field<string> {
  const raw = bytes(size);
  return {
    size,
    zero: '',
    get(view, offset) {
      const value = raw.get(view, offset);
      const end = value.indexOf(0);
      return Buffer.from(end < 0 ? value : value.subarray(0, end)).toString('latin1');
    },
    set: (view, offset, value) => raw.set(view, offset, Buffer.from(value, 'latin1')),
  };
}

/** Bytes that the format reserves: written as zero, not read. */
export function reserved(size: number): Field<undefined> {
  return {
    size,
    zero: undefined,
    get: () => undefined,
    set: (view, offset) => {
      new Uint8Array(view.buffer, view.byteOffset + offset, size).fill(0);
    },
  };
}

/** `count` values of one kind, one after another. */
export function array<T>(element: Field<T>, count: number): Field<readonly T[]> {
  return {
    size: element.size * count,
    zero: [],
    get: (view, offset) => Array.from({ length: count }, (_, i) => element.get(view, offset + i * element.size)),
    set(view, offset, value) {
      if (value.length > count) throw new RangeError(`${value.length} elements in an array of ${count}`);
      for (let i = 0; i < count; i++) element.set(view, offset + i * element.size, value[i] ?? element.zero);
    },
  };
}
