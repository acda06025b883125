/**
 * The record of what setup changed on a node, kept below the root: for each file its first bytes, mode and owner, written to disk
 * before the file is touched. From it cleanup restores a node after a crash at any moment.
 */
import { createHash } from 'node:crypto';
import { posix } from 'node:path';
import { AccelError } from '../../../base/error.ts';
import { isRecord } from '../../../base/is-record.ts';
import type { MadeJsonChange } from './json-text.ts';
import type { FileState, Ownership, RootedFiles } from './rooted-files.ts';

/** Folder of the journal on the node. */
export const JOURNAL_FOLDER = '/var/lib/accel/setup';
const VERSION = 1;
const ABOUT = 'journal.json';

/** A file as it was. */
export interface Original extends Ownership {
  /** Base64. */
  readonly bytes: string;
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
  return { bytes: bytes.toString('base64'), mode, uid, gid, mtime };
}

/** See the head of the file. */
export class Journal {
  readonly #files: RootedFiles;
  readonly #folder: string;
  readonly #records = new Map<string, FileRecord | FolderRecord>();
  #made: readonly string[];
  #exists: boolean;

  private constructor(files: RootedFiles, folder: string, found: { exists: boolean; made: readonly string[] }) {
    this.#files = files;
    this.#folder = folder;
    this.#exists = found.exists;
    this.#made = found.made;
  }

  /** Reads the journal of a node; one that does not exist is made with the first record. */
  static async open(files: RootedFiles, { readOnly = false } = {}): Promise<Journal> {
    const folder = await files.locate(JOURNAL_FOLDER);
    if (!readOnly) await removeLeftovers(files, folder);
    const about = await files.read(posix.join(folder, ABOUT));
    const made = about === undefined ? [] : (parse(about, ABOUT) as { made?: string[]; version?: number });
    if (!Array.isArray(made) && made.version !== VERSION) {
      throw new AccelError('io-error', 'the journal of setup is from another version', {
        where: { folder: JOURNAL_FOLDER },
        expected: VERSION,
        found: made.version ?? 'none',
        hint: 'Run the cleanup of that version first.',
      });
    }
    const exists = about !== undefined;
    const journal = new Journal(files, folder, { exists, made: Array.isArray(made) ? made : (made.made ?? []) });
    for (const name of await files.list(folder)) {
      if (!/^[0-9a-f]{64}\.json$/.test(name)) continue;
      const state = await files.read(posix.join(folder, name));
      if (state !== undefined) journal.#add(parse(state, name) as unknown as FileRecord | FolderRecord);
    }
    return journal;
  }

  /** Files that were changed, or were about to be. */
  get fileRecords(): readonly FileRecord[] {
    return [...this.#records.values()].filter((record) => record.type === 'file');
  }

  /** Folders that were made, the deepest first. */
  get folderRecords(): readonly FolderRecord[] {
    return [...this.#records.values()]
      .filter((record) => record.type === 'folder')
      .sort((a, b) => b.path.split('/').length - a.path.split('/').length);
  }

  /** The record of a file, by its path with all links followed. */
  file(located: string): FileRecord | undefined {
    const record = this.#records.get(located);
    return record?.type === 'file' ? record : undefined;
  }

  /** Writes a record to disk; it is there after a crash from then on. */
  async record(record: FileRecord | FolderRecord): Promise<void> {
    await this.#create();
    const bytes = Buffer.from(`${JSON.stringify(record, null, 2)}\n`);
    // Originals may hold credentials.
    await this.#files.write(this.#pathOf(record), bytes, { mode: 0o600, uid: owner(), gid: group() });
    this.#add(record);
  }

  /** Forgets a record once its file or folder is as it was. */
  async forget(record: FileRecord | FolderRecord): Promise<void> {
    await this.#files.remove(this.#pathOf(record));
    this.#records.delete(record.path);
  }

  /** Removes the journal with the folders that were made for it, when nothing else is in them. */
  async end(): Promise<void> {
    if (!this.#exists) return;
    if (!this.#made.includes(this.#folder)) {
      await this.#files.remove(posix.join(this.#folder, ABOUT));
      this.#exists = false;
      return;
    }
    const [parent, name] = [posix.dirname(this.#folder), posix.basename(this.#folder)];
    let [top, old] = [this.#folder, posix.join(parent, leftover(name))];
    for (const made of [...this.#made].sort((a, b) => b.length - a.length)) {
      if (made === this.#folder || made !== posix.dirname(top)) continue;
      const inside = await this.#files.list(made);
      if (inside.length > 1) break;
      [top, old] = [made, posix.join(posix.dirname(made), leftover(posix.basename(made)))];
    }
    // Both the content and the list of folders that were made go at one moment.
    await this.#files.move(top, old);
    await this.#files.removeTree(old);
    this.#exists = false;
  }

  /** Makes the folders of the journal and the list of them, at one moment. */
  async #create(): Promise<void> {
    if (this.#exists) return;
    const missing: string[] = [];
    for (let path = this.#folder; !(await this.#files.exists(path)); path = posix.dirname(path)) missing.unshift(path);
    const about = Buffer.from(`${JSON.stringify({ version: VERSION, made: missing }, null, 2)}\n`);
    const mine = { mode: 0o600, uid: owner(), gid: group() };
    const [top] = missing;
    if (top === undefined) {
      await this.#files.write(posix.join(this.#folder, ABOUT), about, mine);
    } else {
      const temporary = posix.join(posix.dirname(top), leftover(posix.basename(top)));
      for (const path of missing) {
        await this.#files.makeFolder(temporary + path.slice(top.length), path === this.#folder ? 0o700 : 0o755);
      }
      await this.#files.write(temporary + posix.join(this.#folder, ABOUT).slice(top.length), about, mine);
      await this.#files.move(temporary, top);
    }
    this.#made = missing;
    this.#exists = true;
  }

  #add(record: FileRecord | FolderRecord): void {
    this.#records.set(record.path, record);
  }

  #pathOf(record: FileRecord | FolderRecord): string {
    return posix.join(this.#folder, `${sha256(record.path)}.json`);
  }
}

/** Names that the folders of the journal have while they are made and removed. */
function leftover(name: string): string {
  return `.${name}.accel-journal`;
}

async function removeLeftovers(files: RootedFiles, folder: string): Promise<void> {
  for (let path = folder; path !== '/'; path = posix.dirname(path)) {
    const half = posix.join(posix.dirname(path), leftover(posix.basename(path)));
    if (await files.exists(half)) await files.removeTree(half);
  }
}

function parse({ bytes }: FileState, name: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(bytes.toString('utf8'));
    if (isRecord(value)) return value;
  } catch (cause) {
    throw new AccelError('io-error', 'the journal of setup is damaged', {
      where: { file: posix.join(JOURNAL_FOLDER, name) },
      cause,
    });
  }
  throw new AccelError('io-error', 'the journal of setup is damaged', {
    where: { file: posix.join(JOURNAL_FOLDER, name) },
  });
}

function owner(): number {
  return process.getuid?.() ?? 0;
}

function group(): number {
  return process.getgid?.() ?? 0;
}
