/**
 * The list form as the runtime reads it: one path a line, and what it does not understand it skips without a word. accel
 * knows these rules to say beforehand what would be skipped.
 */
import { MAX_LIST_SIZE } from './layout.ts';

/** A list after the runtime's rules. */
export interface RuntimeList {
  /** False when the list is too large: then nothing of it counts. */
  readonly read: boolean;
  /** Lines that name something, in their order, Latin-1. */
  readonly kept: readonly string[];
  /** Lines that would be skipped, empty ones apart. */
  readonly skipped: readonly string[];
}

/** `/a/b`, `a/b/`, `/`: components of these characters alone, none of them empty. */
const READABLE = /^\/?(?:(?:[\w\-.]+\/)*[\w\-.]+\/?)?$/;

/** Whether the runtime keeps a line. */
export function isReadableLine(line: string): boolean {
  return line !== '' && READABLE.test(line);
}

/** The meaning of a line to the runtime: everything below a directory, or one file. */
export function namesDirectory(line: string): boolean {
  return line.endsWith('/');
}

/** Reads a list as the runtime does. */
export function readList(bytes: Uint8Array): RuntimeList {
  if (bytes.length > MAX_LIST_SIZE) return { read: false, kept: [], skipped: [] };
  const kept: string[] = [];
  const skipped: string[] = [];
  for (const raw of Buffer.from(bytes).toString('latin1').split('\n')) {
    const line = raw.replace(/^ +| +$/g, '');
    if (isReadableLine(line)) kept.push(line);
    else if (line !== '') skipped.push(line);
  }
  return { read: true, kept, skipped };
}

/** Lines (Latin-1) as the bytes of a list. */
export function encodeList(lines: readonly string[]): Uint8Array {
  return Buffer.from(lines.map((line) => `${line}\n`).join(''), 'latin1');
}
