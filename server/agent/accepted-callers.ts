/**
 * Callers whom a registry let read, and contents that they found: what `access.ts` remembers. The holder of the process keeps
 * a copy in its memory for the next process, since a mounted device has no other way to its bytes while the registry is down. The
 * copy has digests, times and sizes: credentials are in it as an HMAC, with a key that no disk ever sees.
 */
import { createHmac, randomBytes } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { isRecord } from '../../base/is-record.ts';
import { atMost } from './at-most.ts';
import type { OriginTarget } from './pieces/origin.ts';

/** Callers and contents remembered, and of each those that the next process gets. */
const MOST_KEPT = 100_000;
const MOST_HANDED_ON = 10_000;
/** Milliseconds from a change to the copy for the next process. */
const COPY_AFTER = 1_000;
/** Characters of a digest: 132 bits of the HMAC. */
const DIGEST_LENGTH = 22;
/** The format of the copy; a process that knows another one begins with nothing. */
const VERSION = 1;

/** Somebody who wants to read something. */
export interface Caller {
  /** The content, and the caller's credential. */
  readonly target: OriginTarget;
  readonly host: string;
  /** The repository, or the path of a signed URL. */
  readonly repository: string;
}

/** A memory that outlives the process. */
export interface KeptMemory {
  /** The text that the process before gave to keep; undefined for the first. */
  readonly kept: string | undefined;
  /** Keeps a text in the place of the one before. */
  keep(text: string): void;
}

/** Parts and settings of {@link AcceptedCallers}. */
export interface AcceptedCallersOptions {
  /** Milliseconds of a clock that processes of this machine share. */
  readonly now: () => number;
  readonly memory: KeptMemory | undefined;
}

interface Found {
  readonly at: number;
  /** Bytes of the content, where the registry said so. */
  readonly size: number | undefined;
}

/** See the head of the file. */
export class AcceptedCallers {
  readonly #now: () => number;
  readonly #memory: KeptMemory | undefined;
  readonly #key: Buffer;
  /** When each caller was accepted. */
  readonly #accepted = new LRUCache<string, number>(atMost(MOST_KEPT));
  /** Contents that an accepted caller has found in their repository: no other repository's bytes go by that name. */
  readonly #found = new LRUCache<string, Found>(atMost(MOST_KEPT));
  #timer: NodeJS.Timeout | undefined;

  constructor({ now, memory }: AcceptedCallersOptions) {
    this.#now = now;
    this.#memory = memory;
    this.#key = this.#restore(memory?.kept) ?? randomBytes(32);
  }

  /** The name of a caller with their credential for a repository. */
  keyOf({ target, host, repository }: Caller): string {
    // A signed URL is a credential of its own; without a query only the header counts.
    const secret = `${target.authorization ?? ''}\n${target.url.search}`;
    return this.#digest(`${host.toLowerCase()}\n${repository}\n${secret}`);
  }

  /** The registry has accepted this caller now. `size`: bytes of the content, where it said so. */
  note(question: Caller, size?: number): void {
    const content = this.#contentOf(question);
    const at = this.#now();
    this.#accepted.set(this.keyOf(question), at);
    this.#found.set(content, { at, size: size ?? this.#found.get(content)?.size });
    this.#changed();
  }

  /** The registry has refused this caller now. */
  forget(question: Caller): void {
    // At once: a process that ends now must not leave the next one a caller who was refused.
    if (this.#accepted.delete(this.keyOf(question))) this.flush();
  }

  /** The content as it is known to a caller who was accepted within `callers` milliseconds, when it was found within `contents`. */
  known(
    question: Caller,
    { callers, contents }: { readonly callers: number; readonly contents: number },
  ): { readonly size: number | undefined } | undefined {
    const now = this.#now();
    const accepted = this.#accepted.get(this.keyOf(question));
    const found = this.#found.get(this.#contentOf(question));
    if (accepted === undefined || found === undefined) return undefined;
    return now - accepted < callers && now - found.at < contents ? found : undefined;
  }

  /** Gives the next process what is known now. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#memory?.keep(
      JSON.stringify({
        version: VERSION,
        key: this.#key.toString('base64url'),
        // The latest come first.
        accepted: [...this.#accepted.entries()].slice(0, MOST_HANDED_ON),
        found: [...this.#found.entries()].slice(0, MOST_HANDED_ON).map(([key, { at, size }]) => [key, at, size]),
      }),
    );
  }

  #changed(): void {
    if (this.#memory === undefined || this.#timer !== undefined) return;
    this.#timer = setTimeout(() => this.flush(), COPY_AFTER);
    this.#timer.unref();
  }

  /** Takes in a copy; its key, or undefined where it cannot be read. */
  #restore(text: string | undefined): Buffer | undefined {
    const copy = parseCopy(text);
    if (copy === undefined) return undefined;
    // The latest are set last.
    for (const [key, at] of copy.accepted.reverse()) this.#accepted.set(key, at);
    for (const [key, at, size] of copy.found.reverse()) this.#found.set(key, { at, size: size ?? undefined });
    return Buffer.from(copy.key, 'base64url');
  }

  /** The content that a question is about, whoever asks: the same path in the same host. */
  #contentOf({ target, host }: Caller): string {
    return this.#digest(`${host.toLowerCase()} ${target.url.pathname}`);
  }

  #digest(text: string): string {
    return createHmac('sha256', this.#key).update(text).digest('base64url').slice(0, DIGEST_LENGTH);
  }
}

interface Copy {
  readonly key: string;
  readonly accepted: [string, number][];
  readonly found: [string, number, number | null][];
}

/** The copy that a text has; undefined where it is of another format. */
function parseCopy(text: string | undefined): Copy | undefined {
  if (text === undefined) return undefined;
  const copy: unknown = JSON.parse(text);
  return isRecord(copy) && copy.version === VERSION ? (copy as unknown as Copy) : undefined;
}
