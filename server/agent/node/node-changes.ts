/** Changes files of a node so that each change can be taken back: the journal first, then the file, at one moment each. */
import { createServer } from 'node:net';
import { posix } from 'node:path';
import { AccelError } from '../../../base/error.ts';
import { Journal } from './journal.ts';
import { type EditKind, type FileRecord, originalOf, sha256 } from './journal-record.ts';
import { type MadeJsonChange, revertJson } from './json-text.ts';
import { withoutOwnBlocks } from './own-block.ts';
import { problemText } from './problem-text.ts';
import { type BeforeChange, type FileState, type Ownership, RootedFiles } from './rooted-files.ts';

/** An edit of one file. */
export interface FileEdit {
  readonly path: string;
  readonly kind: EditKind;
  /** Unit of the daemon that reads the file only at its start or on a signal. */
  readonly service?: string;
  /** The new text, from the text without what setup added before; undefined where there is no file. */
  readonly apply: (text: string | undefined) => { readonly text: string; readonly made?: readonly MadeJsonChange[] };
}

/** The outcome for one file or folder. */
export interface NodeChange {
  readonly path: string;
  readonly action: 'created' | 'edited' | 'restored' | 'removed' | 'ours taken out' | 'kept';
  /** Explains an outcome that a person may not expect. */
  readonly note?: string;
  /** Unit of the daemon that reads the file only at its start or on a signal. */
  readonly service?: string;
}

/** Where to work. */
export interface NodePlace {
  readonly root: string;
  /** Called before each change of the file system. */
  readonly before?: BeforeChange;
  /** Goes on with what can be read of a damaged journal. */
  readonly force?: boolean;
}

/** Works on a root while nobody else does. Fails with `usage` while another setup or cleanup does. */
export async function withNode<T>(
  { root, before, force = false }: NodePlace,
  work: (changes: NodeChanges, files: RootedFiles) => Promise<T>,
): Promise<T> {
  const files = await RootedFiles.open(root, before);
  // A name in Linux's own table of sockets: the system frees it with the process, however that ends.
  const lock = createServer();
  await new Promise<void>((resolve, reject) => {
    lock.once('error', (cause: NodeJS.ErrnoException) => {
      const isTaken = cause.code === 'EADDRINUSE';
      reject(
        isTaken
          ? new AccelError('usage', 'another setup or cleanup is at work here', { where: { root }, cause })
          : cause,
      );
    });
    lock.listen(`\0accel-agent-setup:${sha256(files.root)}`, resolve);
  });
  try {
    return await work(new NodeChanges(files, await Journal.open(files, { force })), files);
  } finally {
    await new Promise((resolve) => lock.close(resolve));
  }
}

/** Works on a root without changing it: edits are only planned. */
export async function readNode<T>(
  root: string,
  work: (changes: NodeChanges, files: RootedFiles) => Promise<T>,
): Promise<T> {
  const files = await RootedFiles.open(root, (change) => {
    throw new AccelError('internal', 'a look at a node changes it', { where: { change } });
  });
  return work(new NodeChanges(files, await Journal.open(files, { readOnly: true }), { planOnly: true }), files);
}

/** The files that were restored, and the reasons why others were not. */
export interface Restored {
  readonly changes: NodeChange[];
  readonly problems: string[];
}

interface Base {
  readonly located: string;
  readonly state: FileState | undefined;
  readonly record: FileRecord | undefined;
  /** The text without what setup added. */
  readonly text: string | undefined;
  /** Whether the journal's original is that text. */
  readonly isOriginal: boolean;
}

/** See the head of the file. */
export class NodeChanges {
  readonly #files: RootedFiles;
  readonly #journal: Journal;
  readonly #wanted = new Set<string>();
  readonly #planOnly: boolean;

  constructor(files: RootedFiles, journal: Journal, { planOnly = false } = {}) {
    this.#files = files;
    this.#journal = journal;
    this.#planOnly = planOnly;
  }

  /** The text of a file without what setup added to it; undefined where the file is missing. */
  async text(path: string, kind: EditKind = 'toml'): Promise<string | undefined> {
    return (await this.#base(path, kind)).text;
  }

  /** Edits a file; undefined when it is right already. */
  async apply(edit: FileEdit): Promise<NodeChange | undefined> {
    const { located, state, record, text, isOriginal } = await this.#base(edit.path, edit.kind);
    const wanted = edit.apply(text);
    if (wanted.text === text) return undefined;
    this.#wanted.add(located);
    const current = state?.bytes.toString('utf8');
    const original = isOriginal ? record!.original : originalWithout(state, text);
    const written = new Set(isOriginal ? record!.written : []);
    const isRight = current === wanted.text;
    const change = { path: edit.path, action: state === undefined ? 'created' : 'edited', ...serviceOf(edit) } as const;
    if (this.#planOnly) return isRight ? undefined : change;
    if (!isRight || record === undefined || !isOriginal) {
      if (!isRight) await this.#makeFolders(posix.dirname(located));
      const hash = sha256(wanted.text);
      await this.#journal.record({
        type: 'file',
        path: located,
        kind: edit.kind,
        ...(original === undefined ? {} : { original }),
        written: [...written.add(hash)],
        ...serviceOf(edit),
        ...(wanted.made === undefined ? {} : { made: wanted.made }),
      });
    }
    if (isRight) return undefined;
    await this.#files.write(located, Buffer.from(wanted.text), state ?? newFile());
    return change;
  }

  /** Whether a journal says what was there before setup: in full, in part, or not at all. */
  get journal(): 'whole' | 'damaged' | 'missing' {
    if (!this.#journal.exists) return 'missing';
    return this.#journal.isDamaged ? 'damaged' : 'whole';
  }

  /** The files that the journal knows, each where all links lead. */
  get recorded(): ReadonlySet<string> {
    return new Set(this.#journal.fileRecords.map(({ path }) => path));
  }

  /** Restores what an earlier setup changed and this one does not want. */
  async restoreUnwanted(): Promise<Restored> {
    return this.#restore((record) => !this.#wanted.has(record.path));
  }

  /**
   * Restores all files, removes folders that were made and are empty, and ends the journal; one that has records left, of files
   * that could not be restored, stays.
   */
  async restoreAll(): Promise<Restored> {
    const { changes, problems } = await this.#restore(() => true);
    if (problems.length > 0) return { changes, problems };
    for (const record of this.#journal.folderRecords) {
      if ((await this.#files.removeFolder(record.path)) === 'not empty') {
        changes.push({ path: record.path, action: 'kept', note: 'setup made this folder; it is not empty' });
      }
      await this.#journal.forget(record);
    }
    return { changes, problems };
  }

  /** Ends the journal once all is restored: removes it, or puts a damaged one aside and returns where it is. */
  async endJournal(): Promise<string | undefined> {
    if (this.#journal.isDamaged) return this.#journal.setAside();
    await this.#journal.end();
    return undefined;
  }

  async #restore(isWanted: (record: FileRecord) => boolean): Promise<Restored> {
    const changes: NodeChange[] = [];
    const problems: string[] = [];
    for (const record of this.#journal.fileRecords.filter(isWanted)) {
      try {
        const change = await this.#restoreFile(record);
        if (change !== undefined) changes.push({ ...change, ...serviceOf(record) });
      } catch (error) {
        // The other files are restored all the same, and the record of this one stays.
        problems.push(`${record.path} is not restored: ${problemText(error)}`);
        continue;
      }
      await this.#journal.forget(record);
    }
    return { changes, problems };
  }

  async #restoreFile(record: FileRecord): Promise<NodeChange | undefined> {
    const { path, original, written } = record;
    await this.#files.removeTemporary(path);
    const state = await this.#files.read(path);
    if (state === undefined) {
      const note = 'it was removed since setup, and stays so';
      return original === undefined ? undefined : { path, action: 'kept', note };
    }
    const before = original === undefined ? undefined : Buffer.from(original.bytes, 'base64');
    if (before?.equals(state.bytes) === true) return undefined;
    if (written.includes(sha256(state.bytes))) {
      if (before === undefined) {
        await this.#files.remove(path);
        return { path, action: 'removed' };
      }
      await this.#files.write(path, before, { ...ownershipOf(state), mtime: original!.mtime });
      const isSame = state.mode === original!.mode && state.uid === original!.uid && state.gid === original!.gid;
      const note = isSame ? {} : { note: 'its mode or owner was changed since setup, and stays so' };
      return { path, action: 'restored', ...note };
    }
    const text = textOf(state, path);
    const rest = without(text, record);
    if (rest === text)
      return { path, action: 'kept', note: 'it was changed since setup, and nothing of ours is in it' };
    const note = 'it was changed since setup: only what setup added is taken out';
    if (original === undefined && rest.trim() === '') {
      await this.#files.remove(path);
      return { path, action: 'removed', note };
    }
    await this.#files.write(path, Buffer.from(rest), state);
    return { path, action: 'ours taken out', note };
  }

  async #base(path: string, kind: EditKind): Promise<Base> {
    const located = await this.#files.locate(path);
    if (!this.#planOnly) await this.#files.removeTemporary(located);
    const state = await this.#files.read(located);
    const record = this.#journal.file(located);
    const found = { located, state, record };
    if (state === undefined) {
      const isOriginal = record !== undefined && record.original === undefined;
      return { ...found, text: undefined, isOriginal };
    }
    const text = textOf(state, path);
    const original = record?.original === undefined ? undefined : Buffer.from(record.original.bytes, 'base64');
    if (
      record !== undefined &&
      (record.written.includes(sha256(state.bytes)) || original?.equals(state.bytes) === true)
    ) {
      return { ...found, text: original?.toString('utf8'), isOriginal: true };
    }
    const rest = record === undefined ? (kind === 'toml' ? withoutOwnBlocks(text, path) : text) : without(text, record);
    const isOurs = rest !== text && rest.trim() === '' && record?.original === undefined;
    return { ...found, text: isOurs ? undefined : rest, isOriginal: false };
  }

  async #makeFolders(folder: string): Promise<void> {
    const missing: string[] = [];
    for (let path = folder; !(await this.#files.exists(path)); path = posix.dirname(path)) missing.unshift(path);
    for (const path of missing) {
      await this.#journal.record({ type: 'folder', path });
      await this.#files.makeFolder(path);
    }
  }
}

function without(text: string, { kind, made = [], path }: FileRecord): string {
  return kind === 'toml' ? withoutOwnBlocks(text, path) : revertJson(text, made, path);
}

function originalWithout(state: FileState | undefined, text: string | undefined) {
  return state === undefined || text === undefined ? undefined : originalOf({ ...state, bytes: Buffer.from(text) });
}

function serviceOf({ service }: { readonly service?: string | undefined }): { readonly service?: string } {
  return service === undefined ? {} : { service };
}

function ownershipOf({ mode, uid, gid }: Ownership): Ownership {
  return { mode, uid, gid };
}

function newFile(): Ownership {
  return { mode: 0o644, uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
}

function textOf({ bytes }: FileState, path: string): string {
  const text = bytes.toString('utf8');
  if (Buffer.from(text).equals(bytes)) return text;
  throw new AccelError('io-error', 'the file is not UTF-8', { where: { file: path }, hint: 'It is left as it is.' });
}
