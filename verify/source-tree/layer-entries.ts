/** The entries of one layer, read from its tar in one go; content is hashed as it passes and not kept. */
import { AccelError } from '../../base/error.ts';
import { printable } from '../../formats/bytes/printable.ts';
import type { SparseRun, TarEntry, TarHandler } from '../../formats/tar/entry.ts';
import { TarParser } from '../../formats/tar/parser.ts';
import type { TarLimits } from '../../formats/tar/tar-limits.ts';
import { type ContentHasher, contentHasher } from './content-hash.ts';
import type { LayerEntry } from './node.ts';

/** Options for reading a layer. */
export interface LayerEntriesOptions {
  /** Hash the content of files; otherwise the records have none. */
  readonly hashContent: boolean;
  /** Entries that a layer may have. */
  readonly maxEntries: number;
  /** Bounds of the archive, where they are other than the parser's own. */
  readonly limits?: Partial<TarLimits>;
}

/** Bytes of all extended attributes of one entry: Linux takes no value above 64 KiB, ext4 hardly more than 4. */
const MAX_XATTR_BYTES = 1 << 17;

/** Reads all entries of a tar. Throws what the parser throws, and `limit-exceeded`. */
export async function readLayerEntries(
  tar: AsyncIterable<Uint8Array>,
  options: LayerEntriesOptions,
): Promise<LayerEntry[]> {
  const collector = new EntryCollector(options);
  const parser = new TarParser(collector, options.limits);
  for await (const chunk of tar) parser.push(chunk);
  parser.end();
  return collector.entries;
}

class EntryCollector implements TarHandler {
  readonly entries: LayerEntry[] = [];
  readonly #options: LayerEntriesOptions;
  #entry: TarEntry | undefined;
  #hasher: ContentHasher | undefined;
  /** Stretches of the file that its data fills, and how much of them has passed. */
  #runs: readonly SparseRun[] = [];
  #run = 0;
  #inRun = 0;

  constructor(options: LayerEntriesOptions) {
    this.#options = options;
  }

  entry(entry: TarEntry): void {
    if (this.entries.length >= this.#options.maxEntries) {
      throw new AccelError('limit-exceeded', 'a layer holds too many entries', {
        expected: `at most ${this.#options.maxEntries}`,
      });
    }
    this.#entry = entry;
    this.#hasher = undefined;
    if (entry.type !== 'file' || !this.#options.hashContent) return;
    this.#hasher = contentHasher(entry.sparse === undefined ? 'sha256' : 'sha256-of-blocks');
    this.#runs = entry.sparse ?? [{ offset: 0, length: entry.size }];
    this.#run = 0;
    this.#inRun = 0;
  }

  data(bytes: Uint8Array): void {
    if (this.#hasher === undefined) return;
    for (let at = 0; at < bytes.length; ) {
      const run = this.#runs[this.#run];
      if (run === undefined) return;
      const piece = bytes.subarray(at, at + run.length - this.#inRun);
      this.#hasher.update(run.offset + this.#inRun, piece);
      at += piece.length;
      this.#inRun += piece.length;
      if (this.#inRun === run.length) {
        this.#run++;
        this.#inRun = 0;
      }
    }
  }

  entryEnd(): void {
    const header = this.#entry!;
    checkXattrs(header);
    const content = this.#hasher === undefined ? {} : { content: this.#hasher.finish() };
    this.entries.push({ header, size: header.size, ...content });
  }
}

function checkXattrs({ xattrs, name }: TarEntry): void {
  let bytes = 0;
  for (const [key, value] of xattrs) bytes += key.length + value.length;
  if (bytes <= MAX_XATTR_BYTES) return;
  throw new AccelError('limit-exceeded', 'the extended attributes of a file are larger than any file system takes', {
    where: { path: printable(name) },
    expected: `at most ${MAX_XATTR_BYTES} bytes`,
    found: bytes,
  });
}
