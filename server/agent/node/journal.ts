/**
 * The record of what setup changed on a node, kept below the root: for each file its first bytes, mode and owner, written to disk
 * before the file is touched. From it cleanup restores a node after a crash at any moment.
 */
import { posix } from 'node:path';
import { advise, option } from '../../../base/advice.ts';
import { AccelError } from '../../../base/error.ts';
import { type FileRecord, type FolderRecord, objectIn, recordIn, sha256 } from './journal-record.ts';
import type { FileState, RootedFiles } from './rooted-files.ts';

/** Folder of the journal on the node. */
export const JOURNAL_FOLDER = '/var/lib/accel/setup';
const VERSION = 1;
const ABOUT = 'journal.json';

/** See the head of the file. */
export class Journal {
  readonly #files: RootedFiles;
  readonly #folder: string;
  readonly #records = new Map<string, FileRecord | FolderRecord>();
  readonly #damage: string[];
  #made: readonly string[];
  #exists: boolean;

  private constructor(
    files: RootedFiles,
    folder: string,
    found: { exists: boolean; made: readonly string[]; damage: string[] },
  ) {
    this.#files = files;
    this.#folder = folder;
    this.#exists = found.exists;
    this.#made = found.made;
    this.#damage = found.damage;
  }

  /**
   * Reads the journal of a node; one that does not exist is made with the first record. Fails with `io-error` for a damaged one,
   * unless `force` takes what can be read of it.
   */
  static async open(files: RootedFiles, { readOnly = false, force = false } = {}): Promise<Journal> {
    const folder = await files.locate(JOURNAL_FOLDER);
    if (!readOnly) await removeLeftovers(files, folder);
    const damage: string[] = [];
    const read = async <T>(name: string, parse: (state: FileState) => T): Promise<T | undefined> => {
      try {
        const state = await files.read(posix.join(folder, name));
        return state === undefined ? undefined : parse(state);
      } catch (cause) {
        if (!force) throw damaged(posix.join(JOURNAL_FOLDER, name), cause);
        damage.push(name);
        return undefined;
      }
    };
    const about = await read(ABOUT, aboutIn);
    const journal = new Journal(files, folder, { exists: about !== undefined, made: about?.made ?? [], damage });
    if (!(await files.isFolder(folder))) {
      if (!(await files.exists(folder))) return journal;
      const cause = new Error('it is no folder');
      if (!force) throw damaged(JOURNAL_FOLDER, cause);
      damage.push(cause.message);
    }
    for (const name of await files.list(folder)) {
      if (!/^[0-9a-f]{64}\.json$/.test(name)) continue;
      const record = await read(name, (state) => recordIn(state, name));
      if (record !== undefined) journal.#add(record);
    }
    return journal;
  }

  /** Whether there is a journal, whole or not. */
  get exists(): boolean {
    return this.#exists || this.#records.size > 0 || this.#damage.length > 0;
  }

  /** Whether parts of it cannot be read. */
  get isDamaged(): boolean {
    return this.#damage.length > 0;
  }

  /** Puts what is left of a damaged journal aside, where neither setup nor cleanup looks: its folder from then on. */
  async setAside(): Promise<string> {
    let aside = `${this.#folder}.damaged`;
    for (let number = 2; await this.#files.exists(aside); number++) aside = `${this.#folder}.damaged-${number}`;
    await this.#files.move(this.#folder, aside);
    this.#exists = false;
    this.#damage.length = 0;
    return aside;
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

/** The head of a journal. Throws an Error that says what is wrong. */
function aboutIn(state: FileState): { readonly made: readonly string[] } {
  const { version, made } = objectIn(state);
  if (version !== VERSION) throw new Error(`it is of version ${String(version)}, and this accel knows ${VERSION}`);
  const isWhole = Array.isArray(made) && made.every((path) => typeof path === 'string');
  if (!isWhole) throw new Error('it does not say which folders were made');
  return { made };
}

function damaged(file: string, cause: unknown): AccelError {
  return new AccelError('io-error', 'the journal of setup is damaged', {
    where: { file },
    found: cause instanceof Error ? cause.message : String(cause),
    hint: advise`Nothing was changed. accel agent cleanup with ${option('force')} restores the files whose records are whole, takes what setup added out of the others, and keeps the damaged records; see "A damaged journal" in docs/agent.md.`,
    cause,
  });
}

function owner(): number {
  return process.getuid?.() ?? 0;
}

function group(): number {
  return process.getgid?.() ?? 0;
}
