/** Small ELF files for tests: a program or library that needs others, with no code in it. Shares nothing with the reader. */

/** The content of the file. */
export interface ElfSpec {
  readonly bits?: 32 | 64;
  /** 62, x86-64, unless given. */
  readonly machine?: number;
  readonly interpreter?: string;
  readonly needed?: readonly string[];
  readonly rpath?: string;
  readonly runpath?: string;
}

/** Where the file is loaded: far from its own offsets, so that an address that is taken for one leads astray. */
const BASE = 0x40_0000;

/** The bytes of the file. */
export function buildElf(spec: ElfSpec): Uint8Array {
  const { bits = 64, machine = 62, interpreter, needed = [], rpath, runpath } = spec;
  const wide = bits === 64;
  const word = (value: number): Buffer => {
    const out = Buffer.alloc(wide ? 8 : 4);
    out.writeUInt32LE(value >>> 0);
    return out;
  };
  let strings = '\0';
  const text = (value: string): number => {
    const at = strings.length;
    strings += `${value}\0`;
    return at;
  };
  const entries: [number, number][] = needed.map((name) => [1, text(name)]);
  if (rpath !== undefined) entries.push([15, text(rpath)]);
  if (runpath !== undefined) entries.push([29, text(runpath)]);
  const segments = 2 + (interpreter === undefined ? 0 : 1);
  const headerSize = wide ? 64 : 52;
  const entrySize = wide ? 56 : 32;
  const stringsAt = headerSize + segments * entrySize;
  const dynamicAt = stringsAt + strings.length;
  const dynamic = Buffer.concat(
    [...entries, [5, BASE + stringsAt], [10, strings.length], [0, 0]].flatMap(([tag, value]) => [
      word(tag!),
      word(value!),
    ]),
  );
  const interpreterAt = dynamicAt + dynamic.length;
  const tail = interpreter === undefined ? Buffer.alloc(0) : Buffer.from(`${interpreter}\0`, 'latin1');
  const size = interpreterAt + tail.length;
  const segment = (type: number, offset: number, length: number): Buffer => {
    const type32 = Buffer.alloc(4);
    type32.writeUInt32LE(type);
    const flags = Buffer.alloc(4);
    const places = [word(offset), word(BASE + offset), word(BASE + offset), word(length), word(length)];
    return wide
      ? Buffer.concat([type32, flags, ...places, word(4096)])
      : Buffer.concat([type32, ...places, flags, word(4096)]);
  };
  const header = Buffer.alloc(headerSize);
  header.set([0x7f, 0x45, 0x4c, 0x46, wide ? 2 : 1, 1, 1]);
  header.writeUInt16LE(3, 16);
  header.writeUInt16LE(machine, 18);
  header.writeUInt32LE(1, 20);
  header.writeUInt32LE(headerSize, wide ? 32 : 28);
  header.writeUInt16LE(headerSize, wide ? 52 : 40);
  header.writeUInt16LE(entrySize, wide ? 54 : 42);
  header.writeUInt16LE(segments, wide ? 56 : 44);
  return Buffer.concat([
    header,
    segment(1, 0, size),
    segment(2, dynamicAt, dynamic.length),
    ...(interpreter === undefined ? [] : [segment(3, interpreterAt, tail.length)]),
    Buffer.from(strings, 'latin1'),
    dynamic,
    tail,
  ]);
}

/** An `/etc/ld.so.cache` in its newest form; `hwcap` marks a library for certain processors alone. */
export function buildLibraryCache(
  libraries: readonly { readonly name: string; readonly path: string; readonly hwcap?: number }[],
): Uint8Array {
  const header = Buffer.alloc(48);
  header.write('glibc-ld.so.cache1.1', 'latin1');
  header.writeUInt32LE(libraries.length, 20);
  let strings = '';
  const start = 48 + 24 * libraries.length;
  const entries = libraries.map(({ name, path, hwcap = 0 }) => {
    const entry = Buffer.alloc(24);
    entry.writeUInt32LE(start + strings.length, 4);
    strings += `${name}\0`;
    entry.writeUInt32LE(start + strings.length, 8);
    strings += `${path}\0`;
    entry.writeUInt32LE(hwcap, 20);
    return entry;
  });
  header.writeUInt32LE(strings.length, 24);
  return Buffer.concat([header, ...entries, Buffer.from(strings, 'latin1')]);
}
