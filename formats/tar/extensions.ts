/**
 * Headers that describe the next entry (PAX `x`, GNU `L` and `K`), and those that describe all that follow (PAX `g`), which
 * count for nothing: container runtimes ignore them, and a layer means what its runtimes make of it.
 */
import { AccelError } from '../../base/error.ts';
import type { Extensions } from './assemble.ts';
import type { RawHeader } from './header.ts';
import { textField } from './layout.ts';
import { type PaxRecords, parsePaxRecords, XATTR_PREFIX } from './pax.ts';
import type { TarLimits } from './tar-limits.ts';

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
  #ignored: readonly string[] = [];

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
    else if (this.#kind === 'global') this.#ignored = [...parsePaxRecords(body).keys()].filter(wouldCount);
    else {
      const text = textField(body, 0, body.length);
      if (text === '') throw new AccelError('tar-invalid', `a GNU long ${this.#kind} header is empty`);
      if (this.#kind === 'name') this.#longName = text;
      else this.#longLink = text;
    }
  }

  /** The extensions gathered for the entry whose header is at `offset`; the next entry starts without any. */
  take(offset: number): Extensions {
    const extensions = {
      headerOffset: this.#headerOffset ?? offset,
      records: this.#local ?? NO_RECORDS,
      longName: this.#longName,
      longLink: this.#longLink,
    };
    this.#headerOffset = undefined;
    this.#local = undefined;
    this.#longName = undefined;
    this.#longLink = undefined;
    return extensions;
  }

  /** Keys of the records that the last global header held, and that would count in a local one; each header once. */
  takeIgnored(): readonly string[] {
    const ignored = this.#ignored;
    this.#ignored = [];
    return ignored;
  }
}

/** The records that the parser reads. */
const READ_KEYS: ReadonlySet<string> = new Set(['path', 'linkpath', 'size', 'uid', 'gid', 'mtime']);

/** Whether a record would change an entry: `git archive` writes a comment, which changes none. */
function wouldCount(key: string): boolean {
  return READ_KEYS.has(key) || key.startsWith(XATTR_PREFIX);
}
