/** Reads an ELF file as the loader does: the interpreter, the libraries, and the folders that are searched for them. */
import { viewOf } from '../bytes/struct.ts';
import {
  DYNAMIC,
  ELF_CLASS,
  ELF_MAGIC,
  header32,
  header64,
  IDENT_SIZE,
  LITTLE_ENDIAN,
  SEGMENT,
  segment32,
  segment64,
} from './layout.ts';

/** Answers the bytes of a file from `offset` on: `length` of them, or fewer at its end. */
export type ReadFile = (offset: number, length: number) => Promise<Uint8Array>;

/** An ELF file as the loader sees it. Names are Latin-1. */
export interface ElfFile {
  readonly bits: 32 | 64;
  /** `e_machine`: 62 x86-64, 183 AArch64 … */
  readonly machine: number;
  /** The program interpreter; absent for libraries and for static programs. */
  readonly interpreter?: string;
  /** Libraries by name, in the order in which they are loaded. */
  readonly needed: readonly string[];
  /** `DT_RPATH`, directories with colons between; the loader heeds it only where there is no runpath. */
  readonly rpath?: string;
  /** `DT_RUNPATH`. */
  readonly runpath?: string;
}

/** Program headers, bytes of the dynamic section, and libraries that are read of one file; real ones have far fewer. */
const MAX_SEGMENTS = 1024;
const MAX_DYNAMIC = 1 << 20;
const MAX_NEEDED = 4096;
/** Bytes of a name or of a path list. */
const MAX_TEXT = 4096;

interface Segment {
  readonly p_type: number;
  readonly p_offset: number;
  readonly p_vaddr: number;
  readonly p_filesz: number;
}

/** Reads an ELF file; undefined for everything else, for big-endian files and for damaged ones: nothing loads those. */
export async function readElf(read: ReadFile): Promise<ElfFile | undefined> {
  try {
    return await readKnown(read);
  } catch (error) {
    // A number that no file has, or a structure past the end of this one.
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

async function readKnown(read: ReadFile): Promise<ElfFile | undefined> {
  const ident = await read(0, header64.size);
  if (ident.length < IDENT_SIZE || ELF_MAGIC.some((byte, i) => ident[i] !== byte)) return undefined;
  const is64 = ident[4] === ELF_CLASS.bits64;
  if ((!is64 && ident[4] !== ELF_CLASS.bits32) || ident[5] !== LITTLE_ENDIAN) return undefined;
  const header = (is64 ? header64 : header32).read(ident);
  const size = is64 ? segment64.size : segment32.size;
  if (header.e_phentsize !== size || header.e_phnum > MAX_SEGMENTS) return undefined;
  const table = await read(header.e_phoff, header.e_phnum * size);
  const segments: Segment[] = Array.from({ length: header.e_phnum }, (_, i) =>
    (is64 ? segment64 : segment32).read(table, i * size),
  );
  const interpreter = segments.find(({ p_type }) => p_type === SEGMENT.interpreter);
  const dynamic = segments.find(({ p_type }) => p_type === SEGMENT.dynamic);
  return {
    bits: is64 ? 64 : 32,
    machine: header.e_machine,
    ...(interpreter === undefined ? {} : { interpreter: await textAt(read, interpreter.p_offset) }),
    ...(dynamic === undefined ? { needed: [] } : await readDynamic(read, dynamic, segments, is64)),
  };
}

async function readDynamic(
  read: ReadFile,
  { p_offset, p_filesz }: Segment,
  segments: readonly Segment[],
  is64: boolean,
): Promise<Pick<ElfFile, 'needed' | 'rpath' | 'runpath'>> {
  const bytes = await read(p_offset, Math.min(p_filesz, MAX_DYNAMIC));
  const view = viewOf(bytes);
  const word = (at: number): number =>
    is64 ? view.getUint32(at, true) + view.getUint32(at + 4, true) * 2 ** 32 : view.getUint32(at, true);
  const step = is64 ? 16 : 8;
  const values = new Map<number, number[]>();
  for (let at = 0; at + step <= bytes.length; at += step) {
    const tag = word(at);
    if (tag === DYNAMIC.end) break;
    values.set(tag, [...(values.get(tag) ?? []), word(at + step / 2)]);
  }
  const strings = fileOffset(segments, values.get(DYNAMIC.strtab)?.[0]);
  if (strings === undefined) return { needed: [] };
  const text = (offset: number): Promise<string> => textAt(read, strings + offset);
  const needed: string[] = [];
  for (const offset of (values.get(DYNAMIC.needed) ?? []).slice(0, MAX_NEEDED)) needed.push(await text(offset));
  const [rpath] = values.get(DYNAMIC.rpath) ?? [];
  const [runpath] = values.get(DYNAMIC.runpath) ?? [];
  return {
    needed,
    ...(rpath === undefined ? {} : { rpath: await text(rpath) }),
    ...(runpath === undefined ? {} : { runpath: await text(runpath) }),
  };
}

/** Where an address lies in the file. */
function fileOffset(segments: readonly Segment[], address: number | undefined): number | undefined {
  if (address === undefined) return undefined;
  const load = segments.find(
    ({ p_type, p_vaddr, p_filesz }) => p_type === SEGMENT.load && address >= p_vaddr && address < p_vaddr + p_filesz,
  );
  return load === undefined ? undefined : load.p_offset + address - load.p_vaddr;
}

/** The text up to the next NUL. */
async function textAt(read: ReadFile, offset: number): Promise<string> {
  const bytes = await read(offset, MAX_TEXT);
  const end = bytes.indexOf(0);
  return Buffer.from(end < 0 ? bytes : bytes.subarray(0, end)).toString('latin1');
}
