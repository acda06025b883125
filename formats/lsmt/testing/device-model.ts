/** LSMT layers as plain arrays, for tests: one cell a sector, no cleverness. */
import { LsmtWriter, type LsmtWriterOptions } from '../writer.ts';

/** The content of a sector of the device: nothing of this layer, zeros, a sector of the file or of the tar. */
export type Cell = undefined | 'zero' | { readonly local: number } | { readonly remote: number };

/** A layer written into memory. */
export class MemoryLayer {
  readonly #pieces: Uint8Array[] = [];
  readonly writer: LsmtWriter;

  constructor(options: Omit<LsmtWriterOptions, 'emit'>) {
    this.writer = new LsmtWriter({
      ...options,
      emit: (bytes, zeros) => this.#pieces.push(bytes.slice(), new Uint8Array(zeros)),
    });
  }

  /** Finishes the layer; the LSMT file. */
  finish(): Uint8Array {
    const { size } = this.writer.finish();
    const file = Buffer.concat(this.#pieces);
    if (file.length !== size) throw new Error(`the writer said ${size} bytes and emitted ${file.length}`);
    return file;
  }
}

/** A sector that says its number, so that no two are alike and none is zero. */
export function sectorOf(number: number): Uint8Array {
  const out = new Uint8Array(512).fill(0xa5);
  new DataView(out.buffer).setUint32(0, number, true);
  return out;
}
