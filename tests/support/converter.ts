/** Shared by the converter's tests: small images in a layout, a target that counts, the usual request. */
import { createHash } from 'node:crypto';
import type { BlobSource } from '../../base/byte-source.ts';
import { convertBetween } from '../../converter/convert.ts';
import {
  type ConvertContext,
  type ConvertRequest,
  type ConvertResult,
  DEFAULT_ARTIFACT,
  type OutputTag,
} from '../../converter/options.ts';
import { buildLayout, type ImageOptions, type LayerSpec } from '../../fixtures/image-builder.ts';
import { TarBuilder } from '../../fixtures/tar-builder.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import { openLayout } from '../../oci/layout-target.ts';
import type { BlobSizer, Target } from '../../oci/storage.ts';
import { tempDirectory } from './tools.ts';

/** A layout in a directory of its own. */
export interface TestLayout {
  readonly directory: string;
  readonly target: Target & BlobSizer;
  remove(): Promise<void>;
}

/** Makes a layout with one image under the tag `base`. */
export async function testLayout(layers: readonly LayerSpec[], options: ImageOptions = {}): Promise<TestLayout> {
  const { path: directory, remove } = await tempDirectory('accel-converter-');
  await buildLayout(directory, 'base', layers, options);
  return { directory, target: await openLayout(directory, { create: false }), remove };
}

/** A tar with a few files, different for each `seed`. */
export function smallTar(seed: number): Uint8Array {
  const text = `${`line of layer ${seed}\n`.repeat(400)}end\n`;
  return new TarBuilder()
    .dir(`d${seed}/`)
    .file(`d${seed}/text`, text)
    .file(`d${seed}/empty`)
    .symlink(`link${seed}`, `d${seed}/text`)
    .link(`d${seed}/again`, `d${seed}/text`)
    .build();
}

/** A tar with a file that does not shrink, different for each `seed`: a layer that is worth threads. */
export function threadedTar(seed: number): Uint8Array {
  const noise = Buffer.concat(
    Array.from({ length: 70_000 }, (_, i) => createHash('sha512').update(`${seed} ${i}`).digest()),
  );
  return new TarBuilder().file(`noise${seed}`, noise).dir(`d${seed}/`).build();
}

/** The outputs of a plain `convert`. */
export const BOTH: readonly OutputTag[] = [
  { tag: 'base_accelerated', kind: 'full' },
  { tag: 'base_containerd_accelerated', kind: 'containerd' },
];

/** A request for the image of {@link testLayout}, without threads. */
export function request(overrides: Partial<ConvertRequest> = {}): ConvertRequest {
  return {
    repository: 'oci:unused',
    source: { tag: 'base' },
    outputs: BOTH,
    artifact: DEFAULT_ARTIFACT,
    platforms: [],
    concurrency: 2,
    workers: 0,
    noUpload: false,
    cache: false,
    force: false,
    ...overrides,
  };
}

/** Converts within one target. */
export function convertWithin(
  target: Target,
  wanted: ConvertRequest,
  context?: ConvertContext,
): Promise<ConvertResult> {
  return convertBetween({ source: target, target, mountFrom: undefined }, wanted, context);
}

/** A target that passes everything on and notes what was asked of it. */
export class CountingTarget implements Target, BlobSizer {
  readonly name = 'counting';
  readonly fetched: string[] = [];
  readonly pushed: string[] = [];
  readonly tagged: string[] = [];
  readonly #inner: Target & BlobSizer;

  constructor(inner: Target & BlobSizer) {
    this.#inner = inner;
  }

  fetch(...args: Parameters<Target['fetch']>): ReturnType<Target['fetch']> {
    this.fetched.push(args[0].digest);
    return this.#inner.fetch(...args);
  }

  fetchRange(...args: Parameters<Target['fetchRange']>): ReturnType<Target['fetchRange']> {
    return this.#inner.fetchRange(...args);
  }

  exists(...args: Parameters<Target['exists']>): ReturnType<Target['exists']> {
    return this.#inner.exists(...args);
  }

  blobSize(...args: Parameters<BlobSizer['blobSize']>): ReturnType<BlobSizer['blobSize']> {
    return this.#inner.blobSize(...args);
  }

  resolve(...args: Parameters<Target['resolve']>): ReturnType<Target['resolve']> {
    return this.#inner.resolve(...args);
  }

  push(descriptor: Descriptor, content: BlobSource): ReturnType<Target['push']> {
    this.pushed.push(descriptor.digest);
    return this.#inner.push(descriptor, content);
  }

  tag(descriptor: Descriptor, tag: string): Promise<void> {
    this.tagged.push(tag);
    return this.#inner.tag(descriptor, tag);
  }
}
