/**
 * Applies a layer's tar to the state of an image: the tree by the rules of formats/layer, the content of files to a sink.
 * Nothing here touches the host's files.
 */
import { type AccelError, withPlace } from '../../base/error.ts';
import { printable } from '../bytes/printable.ts';
import { LayerRules, Unfinished } from '../layer/rules.ts';
import type { TarEntry, TarHandler } from '../tar/entry.ts';
import type { Ext4Image } from './ext4-image.ts';
import { type FileContent, type FileDataSink, StoredContent } from './file-content.ts';
import { Ext4LayerTree } from './layer-tree.ts';

export type { FileDataSink };

/** Something of an entry that could not be kept, with the path in the tar. */
export type WarningSink = (message: string, path: string) => void;

/** A handler for the tar parser that applies one layer; make a new one, after `image.beginLayer()`, for each. */
export class TarApplier implements TarHandler {
  readonly #content: FileContent;
  readonly #rules: LayerRules<number>;
  readonly #warn: WarningSink;
  #entries = 0;
  #ignoredRecords = false;

  /** Content goes to a sink, in blocks that are allocated for it, or to where the caller says. */
  constructor(image: Ext4Image, content: FileDataSink | FileContent, warn: WarningSink) {
    this.#content = 'beginRun' in content ? new StoredContent(image, content) : content;
    this.#warn = warn;
    this.#rules = new LayerRules(new Ext4LayerTree(image), { changed: warn, differs: warn });
  }

  /** Entries applied so far. */
  get entries(): number {
    return this.#entries;
  }

  entry(entry: TarEntry): Generator<undefined, void> | undefined {
    this.#entries++;
    this.#content.next(entry);
    try {
      const inode = this.#rules.begin(entry);
      if (inode instanceof Unfinished) return this.#finish(inode, entry);
      if (inode !== undefined && entry.type === 'file') this.#content.begin(inode, entry);
      return undefined;
    } catch (error) {
      throw placed(error, entry);
    }
  }

  ignoredRecords(keys: readonly string[]): void {
    if (this.#ignoredRecords) return;
    this.#ignoredRecords = true;
    this.#warn(
      `the records of PAX global headers are ignored, as container runtimes ignore them: ${keys.map(printable).join(', ').slice(0, 200)}`,
      'PAX global header',
    );
  }

  data(bytes: Uint8Array): void {
    this.#content.data(bytes);
  }

  entryEnd(): void {
    this.#content.end();
  }

  *#finish({ steps }: Unfinished<number>, entry: TarEntry): Generator<undefined, void> {
    try {
      const inode = yield* steps;
      if (inode !== undefined && entry.type === 'file') this.#content.begin(inode, entry);
    } catch (error) {
      throw placed(error, entry);
    }
  }
}

function placed(error: unknown, { name, headerOffset }: TarEntry): AccelError {
  return withPlace(error, { path: printable(name), tarOffset: headerOffset });
}
