/**
 * Applies a layer's tar to the state of an image, by the rules of the OCI image-spec (layer.md): later entries replace
 * earlier ones, directories keep their content, whiteouts remove what lies below. Nothing here touches the host's files.
 */
import { AccelError, withPlace } from '../../base/error.ts';
import { printable } from '../bytes/printable.ts';
import type { SparseRun, TarEntry, TarHandler, TarTime } from '../tar/entry.ts';
import type { Ext4Image } from './image.ts';
import { type Attributes, DEVICE_LIMITS, MAX_SECONDS, MIN_SECONDS } from './inode.ts';
import { BLOCK_SIZE } from './layout.ts';
import { cleanPath, DirectoryFinder, resolveDirectory } from './path.ts';
import { isAufsDirectory, type NamedDirectories, parseWhiteout, Whiteouts } from './whiteout.ts';
import { isKnownXattr } from './xattr.ts';

/** Receives file data in tar order. */
export interface FileDataSink {
  /**
   * The next `length` bytes given to {@link write} stand from byte `tarOffset` of the tar on and belong from byte
   * `deviceOffset` of the device on. Within a file `deviceOffset` ascends; a new file starts at a block's first byte,
   * the run of a sparse file anywhere. What the runs of a block leave open reads as zeros. `endsFile` says that nothing
   * of the file follows: what a partial last sector of the tar holds behind it cannot be read through the file.
   */
  beginRun(deviceOffset: number, tarOffset: number, length: number, endsFile: boolean): void;
  /** The next bytes of the run; a view that is valid during the call only. */
  write(bytes: Uint8Array): void;
}

/** Something of an entry that could not be kept, with the path in the tar. */
export type WarningSink = (message: string, path: string) => void;

/** Longest text of a symlink in bytes: one block with its terminator, and Linux's own limit. */
const SYMLINK_MAX = BLOCK_SIZE - 1;
/** Mode of every symlink. */
const SYMLINK_MODE = 0o777;
/** Longest file: 2^32 - 1 blocks. */
const FILE_SIZE_MAX = (2 ** 32 - 1) * BLOCK_SIZE;

/** A handler for the tar parser that applies one layer; make a new one, after `image.beginLayer()`, for each. */
export class TarApplier implements TarHandler {
  readonly #image: Ext4Image;
  readonly #sink: FileDataSink;
  readonly #warn: WarningSink;
  readonly #named: NamedDirectories = new Map();
  readonly #whiteouts: Whiteouts;
  readonly #directories: DirectoryFinder;
  /** Runs of the current file that are still to come, the first one begun. */
  #runs: { readonly device: number; readonly tar: number; readonly length: number; readonly endsFile: boolean }[] = [];
  #runLeft = 0;
  #entries = 0;

  constructor(image: Ext4Image, sink: FileDataSink, warn: WarningSink) {
    this.#image = image;
    this.#sink = sink;
    this.#warn = warn;
    this.#whiteouts = new Whiteouts(image, this.#named);
    this.#directories = new DirectoryFinder(image);
  }

  /** Entries applied so far. */
  get entries(): number {
    return this.#entries;
  }

  entry(entry: TarEntry): void {
    this.#entries++;
    this.#directories.beginEntry();
    this.#runs = [];
    this.#runLeft = 0;
    try {
      this.#apply(entry);
    } catch (error) {
      throw withPlace(error, { path: printable(entry.name), tarOffset: entry.headerOffset });
    }
  }

  data(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length && this.#runs.length > 0; ) {
      const length = Math.min(this.#runLeft, bytes.length - at);
      this.#sink.write(bytes.subarray(at, at + length));
      at += length;
      this.#runLeft -= length;
      if (this.#runLeft === 0) {
        this.#runs.pop();
        this.#beginRun();
      }
    }
  }

  entryEnd(): void {
    if (this.#runLeft !== 0) throw new AccelError('internal', 'a file ended before its data', { found: this.#runLeft });
  }

  #apply(entry: TarEntry): void {
    const components = cleanPath(entry.name, 'path');
    const name = components.pop();
    if (name === undefined) {
      if (entry.type !== 'directory') {
        throw new AccelError('tar-invalid', 'an entry would replace the root directory', {
          expected: 'a directory',
          found: entry.type,
        });
      }
      this.#updateDirectory(this.#image.root, entry);
      return;
    }
    if (components.some(isAufsDirectory)) return;
    const whiteout = parseWhiteout(name);
    if (whiteout.kind !== 'none') {
      const parent = this.#directories.find(components, 'undefined');
      if (parent === 0 || whiteout.kind === 'ignored') return;
      if (whiteout.kind === 'opaque') this.#whiteouts.empty(parent);
      else this.#whiteouts.remove(parent, whiteout.name);
      return;
    }
    const parent = this.#directories.find(components, 'create');
    if (entry.type === 'link') this.#link(parent, name, entry);
    else this.#place(parent, name, entry);
  }

  #place(parent: number, name: string, entry: TarEntry): void {
    const existing = this.#image.names.find(parent, name);
    if (existing !== 0) {
      const inode = this.#image.names.inode(existing);
      if (entry.type === 'directory' && this.#image.isDirectory(inode)) {
        this.#updateDirectory(inode, entry);
        return;
      }
      this.#image.remove(existing);
    }
    const inode = this.#create(parent, name, entry);
    const xattrs = this.#keptXattrs(entry);
    if (xattrs.size > 0) this.#image.setXattrs(inode, xattrs);
  }

  #create(parent: number, name: string, entry: TarEntry): number {
    const attributes = this.#attributes(entry);
    const { type } = entry;
    if (type === 'symlink') checkSymlink(entry.linkName);
    if (type === 'character' || type === 'block') checkDevice(entry.devMajor, entry.devMinor);
    if (type === 'link') throw new AccelError('internal', 'a hard link is no inode');
    const inode = this.#image.create(parent, name, type, attributes, {
      ...(type === 'symlink' ? { target: entry.linkName } : {}),
      deviceMajor: entry.devMajor,
      deviceMinor: entry.devMinor,
    });
    if (type === 'file') this.#beginFile(inode, entry);
    return inode;
  }

  #updateDirectory(inode: number, entry: TarEntry): void {
    this.#image.setAttributes(inode, this.#attributes(entry));
    const xattrs = this.#keptXattrs(entry);
    if (xattrs.size > 0) this.#image.setXattrs(inode, new Map([...this.#image.xattrsOf(inode), ...xattrs]));
    if (this.#image.layerOf(inode) === this.#image.layer) return;
    this.#named.set(inode, new Map([...(this.#named.get(inode) ?? []), ...xattrs]));
  }

  /** The header of a hard link repeats what its target's said; as with GNU tar, the target's counts. */
  #link(parent: number, name: string, entry: TarEntry): void {
    const components = cleanPath(entry.linkName, 'hard link target');
    const targetName = components.pop();
    const directory = resolveDirectory(this.#image, components, 'undefined');
    const target = targetName === undefined || directory === 0 ? directory : this.#image.lookup(directory, targetName);
    if (target === 0) {
      throw new AccelError('tar-invalid', 'the target of a hard link does not exist', {
        expected: 'a file of this layer in front of the link, or of a lower layer',
        found: printable(entry.linkName),
      });
    }
    if (this.#image.isDirectory(target)) {
      throw new AccelError('tar-invalid', 'the target of a hard link is a directory', {
        expected: 'a file',
        found: printable(entry.linkName),
      });
    }
    const { names } = this.#image;
    const existing = names.find(parent, name);
    if (existing !== 0) {
      if (names.inode(existing) === target) {
        // The name exists already; note that this layer made it, so that its whiteouts spare it.
        names.setLayer(existing, this.#image.layer);
        return;
      }
      if (this.#contains(names.inode(existing), directory)) {
        throw new AccelError('tar-invalid', 'a hard link would replace a directory that holds its target', {
          found: printable(entry.linkName),
        });
      }
      this.#image.remove(existing);
    }
    this.#image.link(parent, name, target);
  }

  /** Whether `directory` is `ancestor` or lies below it. */
  #contains(ancestor: number, directory: number): boolean {
    if (!this.#image.isDirectory(ancestor)) return false;
    for (let at = directory; at !== this.#image.root; at = this.#image.parentOf(at)) {
      if (at === ancestor) return true;
      this.#directories.spend(1);
    }
    return ancestor === this.#image.root;
  }

  #beginFile(inode: number, entry: TarEntry): void {
    if (entry.size > FILE_SIZE_MAX) {
      throw new AccelError('limit-exceeded', 'a file is too large for ext4', {
        expected: `at most ${FILE_SIZE_MAX} bytes`,
        found: entry.size,
      });
    }
    this.#image.setSize(inode, entry.size);
    const runs: readonly SparseRun[] = entry.sparse ?? (entry.size > 0 ? [{ offset: 0, length: entry.size }] : []);
    let tar = entry.dataOffset;
    let end = 0;
    let base = 0;
    for (const run of runs) {
      // Two runs may share a block. Nothing else allocates in between, so blocks that follow in the file follow on the
      // device, and a run that begins in a block that stands already keeps its place relative to it.
      const first = Math.max(Math.floor(run.offset / BLOCK_SIZE), end);
      const last = Math.ceil((run.offset + run.length) / BLOCK_SIZE);
      if (last > end) {
        base = this.#image.allocate(inode, first, last - first) - first;
        end = last;
      }
      this.#runs.push({
        device: base * BLOCK_SIZE + run.offset,
        tar,
        length: run.length,
        endsFile: run.offset + run.length === entry.size,
      });
      tar += run.length;
    }
    this.#runs.reverse();
    this.#beginRun();
  }

  #beginRun(): void {
    const run = this.#runs.at(-1);
    if (run === undefined) return;
    this.#runLeft = run.length;
    this.#sink.beginRun(run.device, run.tar, run.length, run.endsFile);
  }

  #attributes(entry: TarEntry): Attributes {
    // Linux has no permissions of symlinks and shows all of them; archives of other systems carry what was there.
    const mode = entry.type === 'symlink' ? SYMLINK_MODE : entry.mode;
    return { mode, uid: entry.uid, gid: entry.gid, mtime: this.#keptTime(entry.mtime, entry.name) };
  }

  #keptTime(time: TarTime, path: string): TarTime {
    if (time.seconds >= MIN_SECONDS && time.seconds <= MAX_SECONDS) return time;
    this.#warn(
      'a modification time is outside of what ext4 can hold (1901 to 2446); the nearest was kept',
      printable(path),
    );
    return time.seconds < MIN_SECONDS
      ? { seconds: MIN_SECONDS, nanoseconds: 0 }
      : { seconds: MAX_SECONDS, nanoseconds: 999_999_999 };
  }

  #keptXattrs(entry: TarEntry): ReadonlyMap<string, Uint8Array> {
    const unknown = [...entry.xattrs.keys()].filter((name) => !isKnownXattr(name));
    if (unknown.length === 0) return entry.xattrs;
    this.#warn(
      `extended attributes outside of Linux's namespaces were left out: ${unknown.map(printable).join(', ')}`,
      printable(entry.name),
    );
    return new Map([...entry.xattrs].filter(([name]) => isKnownXattr(name)));
  }
}

function checkSymlink(target: string): void {
  if (target.length >= 1 && target.length <= SYMLINK_MAX) return;
  throw new AccelError(
    target.length === 0 ? 'tar-invalid' : 'limit-exceeded',
    'the target of a symlink has a length that no file system takes',
    {
      expected: `1 to ${SYMLINK_MAX} bytes`,
      found: `${target.length} bytes`,
    },
  );
}

function checkDevice(major: number, minor: number): void {
  if (major <= DEVICE_LIMITS.major && minor <= DEVICE_LIMITS.minor) return;
  throw new AccelError('limit-exceeded', 'a device number is too large for ext4', {
    expected: `at most ${DEVICE_LIMITS.major},${DEVICE_LIMITS.minor}`,
    found: `${major},${minor}`,
  });
}
