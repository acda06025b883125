/** The full engine: every block of the layer rewritten, LSMT in a ZFile in a tar (docs/formats.md §2 to §4). */

import { finishPaced } from '../../../base/pacer.ts';
import { LsmtWriter } from '../../../formats/lsmt/writer.ts';
import type { ZFileWriter } from '../../../formats/zfile/writer.ts';
import { BlockAssembler } from './block-assembler.ts';
import type { LayerBlob, LayerEngine } from './engine.ts';
import { FullLayerFile, type FullLayerFileOptions } from './full-layer-file.ts';

const BLOCK_SIZE = 4096;

/** Options of {@link FullEngine}. */
export interface FullEngineOptions extends FullLayerFileOptions {
  readonly virtualSize: number;
  /** UUIDs from the chain IDs of this layer and the one below. */
  readonly uuid: string;
  readonly parentUuid: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Writes one full layer into a spool file. */
export class FullEngine implements LayerEngine {
  readonly kind = 'full';
  readonly #file: FullLayerFile;
  readonly #signal: AbortSignal | undefined;
  readonly #zfile: ZFileWriter;
  readonly #lsmt: LsmtWriter;
  readonly #blocks: BlockAssembler;

  constructor(options: FullEngineOptions) {
    this.#file = new FullLayerFile(options);
    this.#signal = options.signal;
    this.#zfile = this.#file.zfile;
    this.#lsmt = new LsmtWriter({
      virtualSize: options.virtualSize,
      uuid: options.uuid,
      ...(options.parentUuid === undefined ? {} : { parentUuid: options.parentUuid }),
      padIndex: true,
      emit: (bytes, zeros) => this.#zfile.write(bytes, zeros),
    });
    this.#blocks = new BlockAssembler(BLOCK_SIZE, (offset, bytes, zeros) =>
      this.#lsmt.writeBlocks(offset, bytes, zeros),
    );
  }

  get saturated(): boolean {
    return this.#zfile.saturated;
  }

  drain(): Promise<void> {
    return this.#zfile.drain();
  }

  beginRun(deviceOffset: number, _tarOffset: number, length: number, endsFile: boolean): void {
    this.#blocks.seek(deviceOffset, endsFile ? length : 0);
  }

  write(bytes: Uint8Array): void {
    this.#blocks.write(bytes);
  }

  discard(deviceOffset: number, length: number): void {
    this.#blocks.flush();
    this.#lsmt.discard(deviceOffset, length);
  }

  metadata(deviceOffset: number, bytes: Uint8Array): void {
    this.#blocks.flush();
    this.#lsmt.writeBlocks(deviceOffset, bytes);
  }

  async finish(): Promise<LayerBlob> {
    this.#blocks.flush();
    const { segments } = await finishPaced(this.#lsmt.finishSteps(), this, this.#signal);
    return this.#file.finish(segments);
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}
