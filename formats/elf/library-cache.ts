/** `/etc/ld.so.cache`: where glibc's loader finds a library by its name (glibc, sysdeps/generic/dl-cache.h). */
import { viewOf } from '../bytes/struct.ts';

/** A library of the cache, Latin-1. */
export interface CachedLibrary {
  readonly name: string;
  readonly path: string;
}

const OLD_MAGIC = 'ld.so-1.7.0';
const OLD_HEADER = 16;
const OLD_ENTRY = 12;
const NEW_MAGIC = 'glibc-ld.so.cache1.1';
const NEW_HEADER = 48;
const NEW_ENTRY = 24;
const ALIGNMENT = 8;
/** Libraries that are read; a full desktop has some ten thousand. */
const MAX_LIBRARIES = 100_000;

/**
 * The libraries of a cache in its order, which is the order of preference for one name. Those for certain processors are
 * left out: which of them a node has is not known. Empty for a file that is no cache.
 */
export function readLibraryCache(file: Uint8Array): CachedLibrary[] {
  const bytes = newPart(file);
  if (bytes === undefined || bytes.length < NEW_HEADER) return [];
  const view = viewOf(bytes);
  const count = Math.min(view.getUint32(20, true), Math.floor((bytes.length - NEW_HEADER) / NEW_ENTRY), MAX_LIBRARIES);
  const libraries: CachedLibrary[] = [];
  for (let i = 0; i < count; i++) {
    const at = NEW_HEADER + i * NEW_ENTRY;
    if (view.getUint32(at + 16, true) !== 0 || view.getUint32(at + 20, true) !== 0) continue;
    const [name, path] = [textAt(bytes, view.getUint32(at + 4, true)), textAt(bytes, view.getUint32(at + 8, true))];
    if (name !== '' && path.startsWith('/')) libraries.push({ name, path });
  }
  return libraries;
}

/** Offsets count from the head of the new form, which may follow an old one. */
function newPart(file: Uint8Array): Uint8Array | undefined {
  if (startsWith(file, 0, NEW_MAGIC)) return file;
  if (!startsWith(file, 0, OLD_MAGIC) || file.length < OLD_HEADER) return undefined;
  const end = OLD_HEADER + viewOf(file).getUint32(12, true) * OLD_ENTRY;
  const at = Math.ceil(end / ALIGNMENT) * ALIGNMENT;
  return startsWith(file, at, NEW_MAGIC) ? file.subarray(at) : undefined;
}

function startsWith(bytes: Uint8Array, at: number, text: string): boolean {
  return Buffer.from(bytes.subarray(at, at + text.length)).toString('latin1') === text;
}

function textAt(bytes: Uint8Array, offset: number): string {
  const end = bytes.indexOf(0, offset);
  return end < 0 ? '' : Buffer.from(bytes.subarray(offset, end)).toString('latin1');
}
