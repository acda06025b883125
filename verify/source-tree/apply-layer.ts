/** Applies one layer, read from its tar in one go: entries as they come; content is hashed as it passes and not kept. */
import { AccelError } from '../../base/error.ts';
import { Pacer } from '../../base/pacer.ts';
import { printable } from '../../formats/bytes/printable.ts';
import type { Steps } from '../../formats/layer/tree.ts';
import type { SparseRun, TarEntry, TarHandler } from '../../formats/tar/entry.ts';
import { TarParser } from '../../formats/tar/parser.ts';
import type { TarLimits } from '../../formats/tar/tar-limits.ts';
import { type ContentHasher, contentHasher } from './content-hash.ts';
import type { LayerBuilder } from './flatten.ts';

/** Options for reading a layer. */
export interface ApplyLayerOptions {
  /** Hash the content of files; otherwise the records have none. */
  readonly hashContent: boolean;
  /** Entries that a layer may have. */
  readonly maxEntries: number;
  /** Makes the error for more. */
  readonly tooMany: () => AccelError;
  readonly signal?: AbortSignal | undefined;
  /** Bounds of the archive, where they are other than the parser's own. */
  readonly limits?: Partial<TarLimits>;
}

/** Bytes of all extended attributes of one entry: Linux takes no value above 64 KiB, ext4 hardly more than 4. */
const MAX_XATTR_BYTES = 1 << 17;

/**
 * Reads a tar and applies its entries to the tree; answers how many there were. Throws what the parser and the rules throw, and
 * `limit-exceeded`.
 */
export async function applyLayer(
  tar: AsyncIterable<Uint8Array>,
  layer: LayerBuilder,
  options: ApplyLayerOptions,
): Promise<number> {
  const handler = new EntryHandler(layer, options);
  const parser = new TarParser(handler, options.limits);
  const pacer = new Pacer(options.signal);
  for await (const chunk of tar) for (const _ of parser.steps(chunk)) if (pacer.due) await pacer.pause();
  parser.end();
  return handler.entries;
}

class EntryHandler implements TarHandler {
  entries = 0;
  readonly #layer: LayerBuilder;
  readonly #options: ApplyLayerOptions;
  #entry: TarEntry | undefined;
  #node: number | undefined;
  #hasher: ContentHasher | undefined;
  /** Stretches of the file that its data fills, and how much of them has passed. */
  #runs: readonly SparseRun[] = [];
  #run = 0;
  #inRun = 0;

  constructor(layer: LayerBuilder, options: ApplyLayerOptions) {
    this.#layer = layer;
    this.#options = options;
  }

  entry(entry: TarEntry): Generator<undefined, void> | undefined {
    if (this.entries >= this.#options.maxEntries) throw this.#options.tooMany();
    this.entries++;
    checkXattrs(entry);
    this.#entry = entry;
    const applied = this.#layer.apply(entry);
    if (typeof applied === 'object') return this.#finish(applied, entry);
    this.#begin(applied, entry);
    return undefined;
  }

  *#finish(steps: Steps<number | undefined>, entry: TarEntry): Generator<undefined, void> {
    this.#begin(yield* steps, entry);
  }

  #begin(node: number | undefined, entry: TarEntry): void {
    this.#node = node;
    this.#hasher = undefined;
    if (this.#node === undefined || entry.type !== 'file' || !this.#options.hashContent) return;
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
    const { type, size } = this.#entry!;
    if (this.#node !== undefined && type === 'file') this.#layer.setContent(this.#node, size, this.#hasher?.finish());
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
