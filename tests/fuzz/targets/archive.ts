/** Damaged places on disk: the index of a layout, and the tar of an archive. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AccelErrorCode } from '../../../base/error.ts';
import { TarBuilder } from '../../../fixtures/tar-builder.ts';
import { digestOf } from '../../../oci/digest.ts';
import { openLayout } from '../../../oci/layout-target.ts';
import { OCI } from '../../../oci/media-types.ts';
import { openArchive } from '../../../oci/open-archive.ts';
import type { TagLister, Target } from '../../../oci/storage.ts';
import { type Json, jsonBytes, mutateJson } from '../mutate-json.ts';
import { demand, type FuzzTarget } from '../target.ts';
import { damagedTar, mendTar } from './tar.ts';

const CODES: readonly AccelErrorCode[] = [
  ...(['layout-invalid', 'limit-exceeded', 'not-found', 'size-mismatch', 'digest-mismatch'] as const),
  // A name with a colon in it is read as a digest.
  ...(['manifest-invalid', 'image-unsupported', 'reference-invalid'] as const),
];
const CONFIG = Buffer.from(`{"rootfs":{"type":"layers","diff_ids":["sha256:${'1'.repeat(64)}"]}}`);
const MANIFEST = Buffer.from(
  JSON.stringify({
    schemaVersion: 2,
    mediaType: OCI.manifest,
    config: { mediaType: OCI.config, digest: digestOf(CONFIG), size: CONFIG.length },
    layers: [],
  }),
);
const INDEX: Json = {
  schemaVersion: 2,
  manifests: ['latest', 'other'].map((tag) => ({
    mediaType: OCI.manifest,
    digest: digestOf(MANIFEST),
    size: MANIFEST.length,
    annotations: { 'org.opencontainers.image.ref.name': tag, 'io.containerd.image.name': `host/${tag}` },
  })),
};
const SAVED: Json = [{ Config: 'config.json', RepoTags: ['app:latest'], Layers: ['layer/layer.tar'] }];

/** Everything that a place is asked for: its tags, what each names, and the content of that. */
async function useAll(target: Target & TagLister): Promise<void> {
  for (const tag of await target.tags()) {
    const descriptor = await target.resolve(tag);
    let size = 0;
    for await (const piece of await target.fetch(descriptor)) size += piece.length;
    demand(size === descriptor.size, `${size} bytes of ${descriptor.size}`);
  }
}

/** `index.json` of a layout on disk. */
export const layoutTarget: FuzzTarget = {
  name: 'layout',
  codes: CODES,
  cases: 250,
  async open() {
    const directory = await mkdtemp(join(tmpdir(), 'accel-fuzz-'));
    await mkdir(join(directory, 'blobs/sha256'), { recursive: true });
    await writeFile(join(directory, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
    await writeFile(join(directory, 'blobs/sha256', digestOf(MANIFEST).slice(7)), MANIFEST);
    return {
      make: (random) => ({ bytes: jsonBytes(mutateJson(INDEX, random), random), mended: true }),
      async check({ bytes }) {
        await writeFile(join(directory, 'index.json'), bytes);
        await useAll(await openLayout(directory));
      },
      close: () => rm(directory, { recursive: true, force: true }),
    };
  },
};

/** `oci-archive` and `docker-archive`. */
export const archiveTarget: FuzzTarget = {
  name: 'archive',
  codes: CODES,
  cases: 250,
  async open() {
    const directory = await mkdtemp(join(tmpdir(), 'accel-fuzz-'));
    const file = join(directory, 'archive.tar');
    const oci = (index: string) =>
      new TarBuilder()
        .file('oci-layout', '{"imageLayoutVersion":"1.0.0"}')
        .file('index.json', index)
        .file(`blobs/sha256/${digestOf(MANIFEST).slice(7)}`, MANIFEST)
        .link(`blobs/sha256/${digestOf(CONFIG).slice(7)}`, 'config.json')
        .file('config.json', CONFIG, { pax: { path: 'config.json' } })
        .build();
    const docker = (manifest: string) =>
      new TarBuilder()
        .file('manifest.json', manifest)
        .file('config.json', CONFIG)
        .file('layer/real.tar', new TarBuilder().file('a', 'b').build())
        .symlink('layer/layer.tar', 'real.tar')
        .build();
    return {
      make(random) {
        const isOci = random.oneIn(2);
        const write = isOci ? oci : docker;
        const json = isOci ? INDEX : SAVED;
        if (random.oneIn(2)) {
          const text = Buffer.from(jsonBytes(mutateJson(json, random), random)).toString('latin1');
          return { bytes: write(text), mended: true };
        }
        const bytes = damagedTar(write(JSON.stringify(json)), random);
        const mended = !random.oneIn(3);
        if (mended) mendTar(bytes);
        return { bytes, mended };
      },
      async check({ bytes }) {
        await writeFile(file, bytes);
        const isDocker = Buffer.from(bytes.subarray(0, 13)).toString('latin1') === 'manifest.json';
        const archive = await openArchive(file, isDocker ? 'docker' : 'oci');
        try {
          await useAll(archive);
        } finally {
          await archive.close();
        }
      },
      close: () => rm(directory, { recursive: true, force: true }),
    };
  },
};
