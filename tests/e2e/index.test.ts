/** Indexes and odd shapes of images, registry to registry: skopeo and `accel verify` judge what comes out. */
import { createHash } from 'node:crypto';
import { mkdtemp, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  type BuiltDescriptor,
  buildIndexLayout,
  buildLayout,
  type IndexMember,
  type LayerSpec,
} from '../../fixtures/image-builder.ts';
import { TarBuilder } from '../../fixtures/tar-builder.ts';
import { accel } from '../support/accel.ts';
import { type FaultyProxy, startFaultyProxy } from '../support/faulty-proxy.ts';
import { blobPath } from '../support/oci-layout.ts';
import { startRegistry, type TestRegistry } from '../support/registry.ts';
import { missingFrom, pushAsIs, readStored } from '../support/registry-store.ts';
import { describeWith, run, type TempDirectory, tempDirectory } from '../support/tools.ts';
import { pullImage, pushLayout } from './noisy-image.ts';

const TAGS = ['latest_accelerated', 'latest_containerd_accelerated'] as const;
const OCI_INDEX = 'application/vnd.oci.image.index.v1+json';
const OCI_LAYER = 'application/vnd.oci.image.layer.v1.tar';

const layer = (name: string): LayerSpec => ({
  tar: new TarBuilder().dir('etc/').file(`etc/${name}`, `${name}\n`.repeat(300)).build(),
});
const image = (architecture: string, layers: readonly LayerSpec[], variant?: string): IndexMember => {
  const platform = { os: 'linux', architecture, ...(variant === undefined ? {} : { variant }) };
  return { layers, options: { platform } };
};
const platformsOf = (entries: readonly { readonly platform?: BuiltDescriptor['platform'] }[] | undefined) =>
  entries?.map(({ platform }) => [platform?.architecture, platform?.variant].filter(Boolean).join('/'));

/** Writes an index of these entries into a layout. */
async function writeIndex(layout: string, manifests: readonly unknown[]): Promise<BuiltDescriptor> {
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests }));
  const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
  await writeFile(blobPath(layout, digest), bytes);
  return { mediaType: OCI_INDEX, digest, size: bytes.length };
}

/** The outcome for a shape. */
interface Shape {
  readonly name: string;
  /** Builds it into a layout and answers what is to be tagged, and the digest of a layer to be read just once. */
  build(layout: string): Promise<{ readonly named: BuiltDescriptor; readonly once?: string }>;
  /** Platforms of the converted index; undefined for one image. */
  readonly platforms?: readonly string[];
  /** Media type of what the tags name. */
  readonly mediaType?: string;
  /** Text on standard error. */
  readonly says?: readonly string[];
}

const DOCKER = 'application/vnd.docker';

const SHAPES: readonly Shape[] = [
  {
    name: 'Docker manifest list, with zstd under its media type',
    async build(layout) {
      const layers: LayerSpec[] = [layer('low'), { ...layer('high'), compression: 'zstd' }];
      const members = [image('amd64', layers), image('arm', [layer('arm')], 'v7')];
      return { named: (await buildIndexLayout(layout, 'latest', members, { docker: true })).index };
    },
    platforms: ['amd64', 'arm/v7'],
    mediaType: `${DOCKER}.distribution.manifest.list.v2+json`,
    says: ['zstd'],
  },
  {
    name: 'one manifest for two platforms',
    async build(layout) {
      const { manifest, layers } = await buildLayout(layout, 'latest', [layer('both')]);
      const platform = (architecture: string) => ({ ...manifest, platform: { os: 'linux', architecture } });
      return { named: await writeIndex(layout, ['amd64', 'arm64'].map(platform)), once: layers[0]!.digest };
    },
    platforms: ['amd64', 'arm64'],
  },
  {
    name: 'two platforms with the same base',
    async build(layout) {
      const members = [
        image('amd64', [layer('base'), layer('v1')]),
        image('amd64', [layer('base'), layer('v3')], 'v3'),
      ];
      const { index, images } = await buildIndexLayout(layout, 'latest', members);
      return { named: index, once: images[0]!.layers[0]!.digest };
    },
    platforms: ['amd64', 'amd64/v3'],
    says: ['converted before'],
  },
  {
    name: 'index inside of an index',
    async build(layout) {
      const outer = await buildIndexLayout(layout, 'outer', [image('amd64', [layer('outer')])]);
      const members = [image('arm64', [layer('inner')]), { attestation: true } as const];
      const inner = await buildIndexLayout(layout, 'inner', members);
      return { named: await writeIndex(layout, [inner.index, outer.images[0]!.manifest]) };
    },
    platforms: ['arm64', 'amd64'],
    says: ['skipped', 'attestation'],
  },
  {
    name: 'entry without a platform',
    async build(layout) {
      const { manifest } = await buildLayout(layout, 'latest', [layer('only')]);
      const { platform: _, ...bare } = manifest;
      return { named: await writeIndex(layout, [bare]) };
    },
    // The platform of the config counts where the index has none.
    platforms: ['amd64'],
  },
  {
    name: 'one layer three times',
    async build(layout) {
      const { manifest } = await buildLayout(layout, 'latest', [layer('a'), layer('b'), layer('a'), layer('a')]);
      return { named: manifest };
    },
  },
  {
    name: 'empty layers: no entries, not one byte',
    async build(layout) {
      const nothing = new TarBuilder().build();
      const layers: LayerSpec[] = [{ tar: nothing }, layer('a'), { tar: nothing, compression: 'none' }];
      return { named: (await buildLayout(layout, 'latest', [...layers, { tar: new Uint8Array(0) }])).manifest };
    },
  },
  {
    name: 'media types that are not the content',
    async build(layout) {
      const { manifest } = await buildLayout(layout, 'latest', [
        { ...layer('gzip'), mediaType: OCI_LAYER },
        { ...layer('plain'), compression: 'none', mediaType: `${OCI_LAYER}+gzip` },
        { ...layer('zstd'), compression: 'zstd', mediaType: `${OCI_LAYER}+gzip` },
      ]);
      return { named: manifest };
    },
    says: [
      'the media type says no compression, the content is gzip',
      'the media type says gzip, the content is not compressed',
      'the media type says gzip, the content is zstd',
    ],
  },
];

describeWith({ tools: ['docker-registry', 'skopeo'] }, 'registry to registry', () => {
  let registry: TestRegistry;
  let proxy: FaultyProxy;
  let scratch: TempDirectory;
  const newDirectory = () => mkdtemp(join(scratch.path, 'd-'));

  beforeAll(async () => {
    scratch = await tempDirectory();
    registry = await startRegistry();
    proxy = await startFaultyProxy(registry.host);
  });
  afterAll(async () => {
    await proxy?.stop();
    await registry?.stop();
    await scratch?.remove();
  });

  /** Both tags: everything is there, by skopeo's count too, and the content is that of the source. */
  async function judge(repository: string): Promise<void> {
    for (const tag of TAGS) {
      expect(await missingFrom(registry, repository, tag)).toEqual([]);
      await pullImage(`${registry.host}/${repository}:${tag}`, await newDirectory());
      const verified = await accel(['verify', `${registry.host}/${repository}:${tag}`, '--plain']);
      expect(verified).toMatchObject({ exitCode: 0, stderr: '', leftovers: [] });
    }
  }

  test('an index of three platforms with attestations', async () => {
    const layout = await newDirectory();
    const members: IndexMember[] = [
      image('amd64', [layer('amd64'), layer('common')]),
      { attestation: true },
      image('arm64', [layer('arm64'), layer('common'), layer('more')]),
      { attestation: true },
      image('arm', [layer('arm')], 'v7'),
    ];
    const { images } = await buildIndexLayout(layout, 'latest', members);
    await pushLayout(layout, 'latest', `${registry.host}/team/attested:latest`);
    const result = await accel(['convert', '-r', `${registry.host}/team/attested`, '-i', 'latest', '--plain']);
    expect(result).toMatchObject({ exitCode: 0, leftovers: [] });
    // The reason is said once for both.
    expect(result.stdout).toMatch(
      /^skipped unknown\/unknown [0-9a-f]{12}, unknown\/unknown [0-9a-f]{12}: .*attestation/m,
    );
    await judge('team/attested');
    for (const tag of TAGS) {
      const reference = `${registry.host}/team/attested:${tag}`;
      for (const [at, architecture] of ['amd64', 'arm64', 'arm'].entries()) {
        const shown = await run('skopeo', [
          ...['inspect', '--override-arch', architecture, '--override-os', 'linux', '--tls-verify=false'],
          `docker://${reference}`,
        ]);
        const { Architecture, Layers } = JSON.parse(shown.stdout.toString()) as Inspected;
        expect([Architecture, Layers.length]).toEqual([architecture, images[at]!.layers.length]);
        const one = await accel(['verify', reference, '--platform', `linux/${architecture}`, '--plain', '--json']);
        expect(JSON.parse(one.stdout)).toMatchObject({ identical: true, images: [{ differences: [] }] });
      }
    }
  });

  test.each(SHAPES.map((shape) => [shape.name, shape] as const))('%s', async (name, shape) => {
    const { build, platforms, mediaType, says = [] } = shape;
    const repository = `team/${name.toLowerCase().replace(/[^a-z0-9]+/g, '-')}`;
    const layout = await newDirectory();
    const { named, once } = await build(layout);
    await pushAsIs({ registry, repository }, layout, named, 'latest');
    proxy.clear();
    const result = await accel(['convert', '-r', `${proxy.host}/${repository}`, '-i', 'latest', '--plain']);
    expect(result.stderr).not.toContain('error');
    expect(result).toMatchObject({ exitCode: 0, leftovers: [] });
    for (const text of says) expect(result.stderr + result.stdout).toContain(text);
    if (once !== undefined) {
      const reads = proxy.passages.filter(({ method, url }) => method === 'GET' && url.endsWith(`/blobs/${once}`));
      expect(reads).toHaveLength(1);
    }
    for (const tag of TAGS) {
      const { document } = await readStored(registry, repository, tag);
      expect(platformsOf(document.manifests)).toEqual(platforms);
      expect(document.mediaType).toBe(mediaType ?? named.mediaType);
    }
    await judge(repository);
    const again = await accel(['convert', '-r', `${proxy.host}/${repository}`, '-i', 'latest', '--plain', '--json']);
    expect(JSON.parse(again.stdout)).toMatchObject({ tags: [{ upToDate: true }, { upToDate: true }] });
  });
});

/** The parts of skopeo's description of an image that are looked at. */
interface Inspected {
  readonly Architecture: string;
  readonly Layers: readonly string[];
}
