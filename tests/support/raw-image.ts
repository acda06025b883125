/** Applies plain tars to accel's ext4 state and keeps the device as a sparse file, for e2fsck and mount to judge. */
import { closeSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import { type FileDataSink, TarApplier } from '../../formats/ext4/apply-tar.ts';
import { Ext4Image, type Ext4ImageOptions } from '../../formats/ext4/ext4-image.ts';
import { BLOCK_SIZE } from '../../formats/ext4/layout.ts';
import { TarParser } from '../../formats/tar/parser.ts';

/** The blocks that one layer wrote. */
export interface WrittenLayer {
  /** Numbers of the metadata blocks of the layer's commit. */
  readonly metadata: readonly number[];
  /** Runs of file data. */
  readonly runs: readonly { readonly device: number; readonly tar: number; readonly length: number }[];
  readonly warnings: readonly string[];
}

/** A file system in a sparse file; close it in the end. */
export class RawImage implements FileDataSink {
  readonly image: Ext4Image;
  readonly #fd: number;
  #at = 0;
  #runs: { device: number; tar: number; length: number }[] = [];

  constructor(path: string, options: Ext4ImageOptions = {}) {
    this.image = new Ext4Image(options);
    this.#fd = openSync(path, 'w');
    ftruncateSync(this.#fd, this.image.allocator.geometry.virtualSize);
  }

  beginRun(device: number, tar: number, length: number): void {
    this.#at = device;
    this.#runs.push({ device, tar, length });
  }

  write(bytes: Uint8Array): void {
    writeSync(this.#fd, bytes, 0, bytes.length, this.#at);
    this.#at += bytes.length;
  }

  /** Applies one layer, given in chunks, and commits it. */
  apply(chunks: Iterable<Uint8Array>): WrittenLayer {
    this.#runs = [];
    const warnings: string[] = [];
    this.image.beginLayer();
    const parser = new TarParser(
      new TarApplier(this.image, this, (message, path) => warnings.push(`${path}: ${message}`)),
    );
    for (const chunk of chunks) parser.push(chunk);
    parser.end();
    const metadata: number[] = [];
    for (const { block, bytes } of this.image.commit()) {
      metadata.push(block);
      writeSync(this.#fd, bytes, 0, bytes.length, block * BLOCK_SIZE);
    }
    return { metadata, runs: this.#runs, warnings };
  }

  close(): void {
    closeSync(this.#fd);
  }
}
