/** The structures of an ELF file that name what a program is loaded with (System V ABI, gabi 4.1 and 5). Little-endian. */
import { array, bytes, struct, u8, u16, u32, u64 } from '../bytes/struct.ts';

/** The four bytes that every ELF file begins with. */
export const ELF_MAGIC = [0x7f, 0x45, 0x4c, 0x46] as const;
/** `e_ident[EI_CLASS]`. */
export const ELF_CLASS = { bits32: 1, bits64: 2 } as const;
/** `e_ident[EI_DATA]` of a little-endian file. */
export const LITTLE_ENDIAN = 1;
/** Bytes of `e_ident`. */
export const IDENT_SIZE = 16;

/** `p_type` of the segments that are looked at. */
export const SEGMENT = { load: 1, dynamic: 2, interpreter: 3 } as const;
/** `d_tag` of the entries that are looked at. */
export const DYNAMIC = { end: 0, needed: 1, strtab: 5, strsz: 10, rpath: 15, runpath: 29 } as const;

/** Head of a 64-bit file. */
export const header64 = struct('Elf64_Ehdr', 64, {
  e_ident: array(u8, IDENT_SIZE),
  e_type: u16,
  e_machine: u16,
  e_version: u32,
  // An address is no place in a file: kept as it is.
  e_entry: bytes(8),
  e_phoff: u64,
  e_shoff: u64,
  e_flags: u32,
  e_ehsize: u16,
  e_phentsize: u16,
  e_phnum: u16,
  e_shentsize: u16,
  e_shnum: u16,
  e_shstrndx: u16,
});

/** Head of a 32-bit file. */
export const header32 = struct('Elf32_Ehdr', 52, {
  e_ident: array(u8, IDENT_SIZE),
  e_type: u16,
  e_machine: u16,
  e_version: u32,
  e_entry: bytes(4),
  e_phoff: u32,
  e_shoff: u32,
  e_flags: u32,
  e_ehsize: u16,
  e_phentsize: u16,
  e_phnum: u16,
  e_shentsize: u16,
  e_shnum: u16,
  e_shstrndx: u16,
});

/** A program header of a 64-bit file. */
export const segment64 = struct('Elf64_Phdr', 56, {
  p_type: u32,
  p_flags: u32,
  p_offset: u64,
  p_vaddr: u64,
  p_paddr: bytes(8),
  p_filesz: u64,
  p_memsz: u64,
  p_align: bytes(8),
});

/** A program header of a 32-bit file. */
export const segment32 = struct('Elf32_Phdr', 32, {
  p_type: u32,
  p_offset: u32,
  p_vaddr: u32,
  p_paddr: bytes(4),
  p_filesz: u32,
  p_memsz: u32,
  p_flags: u32,
  p_align: bytes(4),
});
