/** The result of a verification: differences as records, and totals of the comparison. */
import type { AccelError } from '../base/error.ts';
import { asAccelError } from '../base/error.ts';

/** One difference between the accelerated image and its source. */
export interface Difference {
  /** `tree`: a path of the root file system. `image`: a document or blob of the image. */
  readonly scope: 'tree' | 'image';
  /** The path, Latin-1 (`/etc/passwd`); of an image's part its name (`manifest`, `config`, `layer 2 of 5`). */
  readonly path: string;
  /** The field that differs: `mode`, `mtime`, `content`, `xattr user.a`, `diff_id` … */
  readonly field: string;
  /** The value of the source, as text. */
  readonly expected: string;
  /** The value of the accelerated image, as text. */
  readonly found: string;
}

/** The result for one platform. */
export interface VerifyReport {
  /** `os/architecture[/variant]`. */
  readonly platform: string;
  /** Digest of the accelerated manifest. */
  readonly digest: string;
  /** Digest of the source manifest. */
  readonly sourceDigest: string;
  /** True when content was not compared. */
  readonly quick: boolean;
  /** Parts that a quick verification leaves alone; empty for a whole one. */
  readonly notCompared: readonly string[];
  /** In path order, those of the image itself first; at most 100,000. */
  readonly differences: readonly Difference[];
  /** Number of differences, including those that were not kept. */
  readonly differenceCount: number;
  /** Warnings that are not differences. */
  readonly warnings: readonly string[];
  readonly compared: {
    /** Paths of the tree. */
    readonly paths: number;
    /** Files whose content was compared, hard links once. */
    readonly files: number;
    /** Bytes of their content. */
    readonly bytes: number;
    /** Layers of the accelerated image. */
    readonly layers: number;
  };
  /** Requests and bytes that reading the accelerated image's device took. */
  readonly traffic: { readonly requests: number; readonly bytes: number };
}

/** Parts that a quick verification skips: an image that differs only in them counts as identical. */
export const NOT_COMPARED_QUICKLY: readonly string[] = [
  'the content of files',
  'the bytes of layers against their digests',
  'the hashes in piece lists',
  'the access points of gzip indexes',
];

/** Where a verification is. */
export interface VerifyProgress {
  readonly stage: 'source' | 'layers' | 'tree' | 'content';
  /** Bytes, or paths of the stage `tree`. */
  readonly done: number;
  /** The same unit; 0 while unknown. */
  readonly total: number;
}

/** Largest number of differences that are kept. */
export const MAX_DIFFERENCES = 100_000;

/** Collects differences. */
export class DifferenceLog {
  readonly #kept: Difference[] = [];
  readonly #limit: number;
  #count = 0;

  constructor(limit: number = MAX_DIFFERENCES) {
    this.#limit = limit;
  }

  get kept(): readonly Difference[] {
    return this.#kept;
  }

  get count(): number {
    return this.#count;
  }

  /** Notes a difference. */
  add(difference: Difference): void {
    this.#count++;
    if (this.#kept.length < this.#limit) this.#kept.push(difference);
  }

  /** Notes a difference of the tree unless the texts are equal. */
  tree(path: string, field: string, expected: string, found: string): void {
    if (expected !== found) this.add({ scope: 'tree', path, field, expected, found });
  }

  /** Notes a difference of the image unless the texts are equal. */
  image(path: string, field: string, expected: string, found: string): void {
    if (expected !== found) this.add({ scope: 'image', path, field, expected, found });
  }
}

/** Codes of errors that say that bytes of the image are damaged, not that they could not be had. */
const DAMAGE: ReadonlySet<AccelError['code']> = new Set([
  'digest-mismatch',
  'size-mismatch',
  'ext4-invalid',
  'lsmt-invalid',
  'zfile-invalid',
  'turbo-invalid',
  'prefetch-invalid',
  'gzip-invalid',
  'zstd-invalid',
]);

/**
 * The text of an error that is itself a finding: damaged bytes, with the place of the damage. Every other error is
 * thrown on, because nothing is known of the image then.
 */
export function damageText(error: unknown): string {
  const known = asAccelError(error);
  if (!DAMAGE.has(known.code)) throw error;
  const place = Object.entries(known.where).map(([key, value]) => `${key} ${value}`);
  return `unreadable: ${[known.message, ...place].join(', ')}`;
}
