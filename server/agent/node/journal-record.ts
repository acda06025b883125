/** The records of the journal of setup: what they hold, and whether one that was read back is whole. */
import { createHash } from 'node:crypto';
import { isRecord } from '../../../base/is-record.ts';
import type { MadeJsonChange } from './json-text.ts';
import type { FileState, Ownership } from './rooted-files.ts';

/** A file as it was. */
export interface Original extends Ownership {
  /** Base64. */
  readonly bytes: string;
  /** Of the bytes. */
  readonly sha256?: string;
  /** Seconds. */
  readonly mtime: number;
}

/** Ways to edit a file, each with its own way to take the edit out again. */
export type EditKind = 'toml' | 'json';

/** A file that setup changed, or was about to change. */
export interface FileRecord {
  readonly type: 'file';
  /** Where it is, all links followed. */
  readonly path: string;
  readonly kind: EditKind;
  /** Absent where there was no file. */
  readonly original?: Original;
  /** SHA-256 of every text that setup gave it. */
  readonly written: readonly string[];
  /** Unit of the daemon that reads it only at its start or on a signal. */
  readonly service?: string;
  /** Changes of JSON values. */
  readonly made?: readonly MadeJsonChange[];
}

/** A folder that setup made, or was about to make. */
export interface FolderRecord {
  readonly type: 'folder';
  readonly path: string;
}

/** Hexadecimal SHA-256 of bytes. */
export function sha256(bytes: Uint8Array | string): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** A file's state as a journal keeps it. */
export function originalOf({ bytes, mode, uid, gid, mtime }: FileState): Original {
  return { bytes: bytes.toString('base64'), sha256: sha256(bytes), mode, uid, gid, mtime };
}

/** The JSON object in bytes. Throws an Error that says what is wrong. */
export function objectIn({ bytes }: Pick<FileState, 'bytes'>): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString('utf8'));
  } catch {
    throw new Error(bytes.length === 0 ? 'it is empty' : 'it is not JSON');
  }
  if (isRecord(value)) return value;
  throw new Error('it is not a JSON object');
}

/** The record in a file of this name. Throws an Error that says what is wrong. */
export function recordIn(state: Pick<FileState, 'bytes'>, name: string): FileRecord | FolderRecord {
  const value = objectIn(state);
  const { type, path } = value;
  if (typeof path !== 'string' || `${sha256(path)}.json` !== name) throw new Error('its path is not that of its name');
  if (type === 'folder') return { type, path };
  const { kind, original, written, made } = value;
  const isWhole =
    type === 'file' &&
    (kind === 'toml' || kind === 'json') &&
    (original === undefined || isOriginal(original)) &&
    Array.isArray(written) &&
    (made === undefined || (Array.isArray(made) && made.every(isMade)));
  if (isWhole) return value as unknown as FileRecord;
  throw new Error('a value is missing, or not what setup writes');
}

function isOriginal(value: unknown): value is Original {
  if (!isRecord(value)) return false;
  const { bytes, sha256: hash, mode, uid, gid, mtime } = value;
  const isHeld = typeof bytes === 'string' && [mode, uid, gid, mtime].every((number) => typeof number === 'number');
  // Records of older versions have no hash.
  return isHeld && (hash === undefined || hash === sha256(Buffer.from(bytes, 'base64')));
}

function isMade(value: unknown): value is MadeJsonChange {
  return isRecord(value) && Array.isArray(value.path) && typeof value.ours === 'string';
}
