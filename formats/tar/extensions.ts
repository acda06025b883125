/** Headers that describe the next entry (PAX `x`, GNU `L` and `K`) or all that follow (PAX `g`). */
import { AccelError } from '../../base/error.ts';
import type { Extensions } from './assemble.ts';
import type { RawHeader } from './header.ts';
import { textField } from './layout.ts';
import type { TarLimits } from './limits.ts';
import { type PaxRecords, parsePaxRecords, XATTR_PREFIX } from './pax.ts';

type Kind = 'local' | 'global' | 'name' | 'link';

/** `X` is what Solaris wrote before POSIX settled on `x`. */
const KINDS: Readonly<Record<string, Kind>> = { x: 'local', X: 'local', g: 'global', L: 'name', K: 'link' };

const NO_RECORDS: PaxRecords = new Map();

/** Gathers extension headers until the entry comes that they belong to. */
export class ExtensionState {
  readonly #limits: TarLimits;
  #kind: Kind = 'local';
  #body = Buffer.alloc(0);
  #filled = 0;
  #headerOffset: number | undefined;
  #local: PaxRecords | undefined;
  #longName: string | undefined;
  #longLink: string | undefined;
  #global: PaxRecords = NO_RECORDS;

  constructor(limits: TarLimits) {
    this.#limits = limits;
  }

  /** True while an extension header waits for its entry. */
  get pending(): boolean {
    return this.#headerOffset !== undefined;
  }

  /** True if `header` is an extension: its body follows through {@link gather}. Throws `limit-exceeded` if it is too long. */
  begin(header: RawHeader, offset: number): boolean {
    const kind = KINDS[header.typeflag];
    if (kind === undefined) return false;
    if (header.size > this.#limits.extensionBytes) {
      throw new AccelError('limit-exceeded', `an extension header (type '${header.typeflag}') is too long`, {
        expected: `at most ${this.#limits.extensionBytes} bytes`,
        found: header.size,
      });
    }
    this.#kind = kind;
    this.#body = Buffer.alloc(header.size);
    this.#filled = 0;
    if (kind !== 'global') this.#headerOffset ??= offset;
    return true;
  }

  /** Takes the next bytes of the body. */
  gather(bytes: Buffer): void {
    bytes.copy(this.#body, this.#filled);
    this.#filled += bytes.length;
  }

  /** The body is complete. Of two extensions of one kind before one entry, the later counts. */
  end(): void {
    const body = this.#body;
    this.#body = Buffer.alloc(0);
    if (this.#kind === 'local') this.#local = parsePaxRecords(body);
    else if (this.#kind === 'global') this.#addGlobal(parsePaxRecords(body));
    else {
      const text = textField(body, 0, body.length);
      if (text === '') throw new AccelError('tar-invalid', `a GNU long ${this.#kind} header is empty`);
      if (this.#kind === 'name') this.#longName = text;
      else this.#longLink = text;
    }
  }

  /** What has gathered for the entry whose header is at `offset`; the next entry starts anew, under the same globals. */
  take(offset: number): Extensions {
    const extensions = {
      headerOffset: this.#headerOffset ?? offset,
      records: this.#effectiveRecords(),
      longName: this.#longName,
      longLink: this.#longLink,
    };
    this.#headerOffset = undefined;
    this.#local = undefined;
    this.#longName = undefined;
    this.#longLink = undefined;
    return extensions;
  }

  #effectiveRecords(): PaxRecords {
    if (this.#global.size === 0) return this.#local ?? NO_RECORDS;
    return this.#local === undefined ? this.#global : new Map([...this.#global, ...this.#local]);
  }

  /**
   * Global records replace those of the same key in force; an empty value takes one back (POSIX). Records that mean
   * nothing here are dropped at once (`git archive` writes a comment), and so is a sparse map, which belongs to one file.
   */
  #addGlobal(records: PaxRecords): void {
    const merged: PaxRecords = new Map(this.#global);
    for (const [key, value] of records) {
      if (!GLOBAL_KEYS.has(key) && !key.startsWith(XATTR_PREFIX)) continue;
      if (value === '') merged.delete(key);
      else merged.set(key, value);
    }
    let bytes = 0;
    for (const [key, value] of merged) bytes += key.length + value.length;
    if (merged.size > this.#limits.globalRecords || bytes > this.#limits.globalBytes) {
      throw new AccelError('limit-exceeded', 'the tar has too many PAX global records', {
        expected: `at most ${this.#limits.globalRecords} records and ${this.#limits.globalBytes} bytes`,
        found: `${merged.size} records and ${bytes} bytes`,
      });
    }
    this.#global = merged;
  }
}

/** The records that the parser reads. */
const GLOBAL_KEYS: ReadonlySet<string> = new Set(['path', 'linkpath', 'size', 'uid', 'gid', 'mtime']);
