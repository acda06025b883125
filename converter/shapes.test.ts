/** Shapes of sources: what is refused with which words, and what an index may hold. */
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { AccelError } from '../base/error.ts';
import { LAYER_ANNOTATION } from '../formats/overlaybd/annotations.ts';
import { fetchBytes } from '../oci/content.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { digestOf } from '../oci/digest.ts';
import { loadManifest } from '../oci/document.ts';
import { encodeJson, parseIndex } from '../oci/manifest.ts';
import { DOCKER, DOCKER_SCHEMA1, OCI } from '../oci/media-types.ts';
import { MemoryTarget } from '../oci/memory-target.ts';
import { BOTH, CountingTarget, convertWithin, request, smallTar } from '../tests/support/converter.ts';
import { verifyReference } from '../verify/verify-reference.ts';
import type { ConvertEvent } from './events.ts';
import { CACHE_TAG } from './publish/layer-record.ts';

/** A target in which documents are made by hand. */
class Maker {
  readonly memory = new MemoryTarget();
  readonly target = new CountingTarget(this.memory);

  layer(tar: Uint8Array, mediaType: string = OCI.layer): Descriptor {
    return this.memory.put(mediaType, tar);
  }

  json(mediaType: string, document: unknown): Descriptor {
    return this.memory.put(mediaType, encodeJson(document));
  }

  image(layers: readonly Descriptor[], config: Record<string, unknown> = {}, configType: string = OCI.config) {
    const rootfs = { type: 'layers', diff_ids: layers.map(({ digest }) => digest) };
    const descriptor = this.json(configType, { os: 'linux', architecture: 'amd64', rootfs, ...config });
    return this.json(OCI.manifest, { schemaVersion: 2, mediaType: OCI.manifest, config: descriptor, layers });
  }

  index(manifests: readonly unknown[]): Descriptor {
    return this.json(OCI.index, { schemaVersion: 2, mediaType: OCI.index, manifests });
  }
}

const FOREIGN = 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip';

const on = (descriptor: Descriptor, os: string, architecture = 'amd64') => ({
  ...descriptor,
  platform: { os, architecture },
});

/** An index around an index, `depth` times. */
function nested(maker: Maker, depth: number): Descriptor {
  const inner = depth === 0 ? maker.image([maker.layer(smallTar(1))]) : nested(maker, depth - 1);
  return maker.index([inner]);
}

const REFUSED: readonly [name: string, build: (maker: Maker) => Descriptor, code: string, says: string][] = [
  [
    'foreign_layer_elsewhere',
    (m) => m.image([{ ...m.layer(smallTar(1), FOREIGN), digest: `sha256:${'0'.repeat(64)}` }]),
    'layer-unsupported',
    'foreign',
  ],
  [
    'encrypted_layer',
    (m) => m.image([m.layer(smallTar(1), `${OCI.layer}+encrypted`)]),
    'layer-unsupported',
    'encrypted',
  ],
  [
    'in_toto_layer',
    (m) => m.image([m.layer(smallTar(1), 'application/vnd.in-toto+json')]),
    'layer-unsupported',
    'in-toto',
  ],
  ['no_layers', (m) => m.image([]), 'image-unsupported', 'no layers'],
  ['layers_256', (m) => m.image(Array(256).fill(m.layer(smallTar(1)))), 'limit-exceeded', '256'],
  [
    'artifact',
    (m) => m.image([m.layer(smallTar(1))], {}, 'application/vnd.cncf.helm.config.v1+json'),
    'image-unsupported',
    'helm',
  ],
  ['windows', (m) => m.image([m.layer(smallTar(1))], { os: 'windows' }), 'image-unsupported', 'windows/amd64'],
  [
    'diff_id_missing',
    (m) => m.image([m.layer(smallTar(1))], { rootfs: { type: 'layers', diff_ids: [] } }),
    'manifest-invalid',
    '1 diff_ids',
  ],
  [
    'schema_1',
    (m) => m.json(DOCKER_SCHEMA1[1]!, { schemaVersion: 1, name: 'app', tag: '1', fsLayers: [], history: [] }),
    'image-unsupported',
    'schema 1',
  ],
  ['index_empty', (m) => m.index([]), 'image-unsupported', 'an empty index'],
  [
    'index_of_windows_and_an_artifact',
    (m) => {
      const one = m.image([m.layer(smallTar(1))], { os: 'windows' });
      return m.index([on(one, 'windows'), { ...one, artifactType: 'application/vnd.example' }]);
    },
    'image-unsupported',
    'not for Linux',
  ],
  ['index_5_deep', (m) => nested(m, 5), 'limit-exceeded', '5 deep'],
  ['index_of_65_indexes', (m) => m.index(Array.from({ length: 65 }, () => m.index([]))), 'limit-exceeded', 'index 65'],
  [
    'index_around_an_accelerated_image',
    (m) => {
      const annotations = { 'containerd.io/snapshot/overlaybd/blob-digest': 'sha256:1' };
      return m.index([m.index([m.image([{ ...m.layer(smallTar(1)), annotations }])])]);
    },
    'already-accelerated',
    'ordinary image',
  ],
];

describe('refused before anything is pushed', () => {
  it.each(REFUSED)('%s', async (_name, build, code, says) => {
    const maker = new Maker();
    await maker.memory.tag(build(maker), 'base');
    const error = await convertWithin(maker.target, request()).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(AccelError);
    const { code: found, message, expected, found: value, hint } = error as AccelError;
    expect(found).toBe(code);
    expect([message, expected, value, hint].join('\n')).toContain(says);
    expect(maker.target.pushed).toEqual([]);
    expect(maker.target.tagged).toEqual([]);
  });
});

describe('a layer of a foreign type whose content is there', () => {
  it.each([FOREIGN, 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip'])(
    'is converted: %s',
    async (type) => {
      const [plain, foreign] = [new Maker(), new Maker()];
      await plain.memory.tag(plain.image([plain.layer(smallTar(1))]), 'base');
      await foreign.memory.tag(foreign.image([foreign.layer(smallTar(1), type)]), 'base');
      const layers = async ({ target }: Maker) =>
        (await convertWithin(target, request())).tags.map(({ manifests }) => manifests.map((one) => one.layers));
      expect(await layers(foreign)).toEqual(await layers(plain));
    },
  );

  it.each([
    [FOREIGN, DOCKER.layerGzip],
    ['application/vnd.oci.image.layer.nondistributable.v1.tar+gzip', OCI.layerGzip],
  ])('has the type that runtimes know in an index-only layer, which verifies: %s', async (type, known) => {
    const maker = new Maker();
    const tar = smallTar(1);
    const rootfs = { type: 'layers', diff_ids: [digestOf(tar)] };
    await maker.memory.tag(maker.image([maker.layer(gzipSync(tar), type)], { rootfs }), 'base');
    const { tags } = await convertWithin(maker.target, request());
    const [layer] = (await loadManifest(maker.memory, await maker.memory.resolve(tags.at(-1)!.tag))).layers;
    expect(layer?.annotations?.[LAYER_ANNOTATION.targetMediaType]).toBe(known);
    for (const { tag } of tags) {
      const accelerated = { target: maker.memory, tagOrDigest: tag };
      const { identical } = await verifyReference({ accelerated, platforms: [], quick: false });
      expect({ tag, identical }).toEqual({ tag, identical: true });
    }
  });
});

describe('an index', () => {
  /** Converts what `build` makes; answers the entries of the full index and the layers that were taken over. */
  async function converted(maker: Maker, named: Descriptor) {
    await maker.memory.tag(named, 'base');
    const reused: string[] = [];
    const onEvent = (event: ConvertEvent): void => {
      if (event.type === 'layer-reused') reused.push(event.layer.digest);
    };
    const result = await convertWithin(maker.target, request(), { onEvent });
    const descriptor = await maker.memory.resolve(BOTH[0]!.tag);
    const { manifests } = parseIndex(await fetchBytes(maker.memory, descriptor, 1 << 20), descriptor);
    return { result, manifests, reused };
  }

  it.each([1, 4])('inside of %i others is opened, in its place', async (depth) => {
    const maker = new Maker();
    const last = maker.image([maker.layer(smallTar(2))], { architecture: 'arm64' });
    const { manifests, result } = await converted(
      maker,
      maker.index([on(nested(maker, depth - 1), 'linux', 's390x'), on(last, 'linux', 'arm64')]),
    );
    // The inner entry has no platform of its own: that of the index around it counts.
    expect(manifests.map(({ platform }) => platform?.architecture)).toEqual(['s390x', 'arm64']);
    expect(result.skipped).toEqual([]);
  });

  it('for another system is left out unopened', async () => {
    const maker = new Maker();
    const gone = { mediaType: OCI.index, digest: digestOf(Buffer.from('gone')), size: 4 };
    const { result } = await converted(
      maker,
      maker.index([on(gone, 'windows'), on(maker.image([maker.layer(smallTar(1))]), 'linux')]),
    );
    expect(result.skipped).toEqual([{ digest: gone.digest, platform: 'windows/amd64', reason: 'not for Linux' }]);
  });

  it('converts a manifest of two platforms once, and lists it twice', async () => {
    const maker = new Maker();
    const both = maker.image([maker.layer(smallTar(1))]);
    const { manifests, result, reused } = await converted(
      maker,
      maker.index([on(both, 'linux', 'amd64'), on(both, 'linux', 'arm64')]),
    );
    expect(manifests.map(({ platform }) => platform?.architecture)).toEqual(['amd64', 'arm64']);
    expect(new Set(manifests.map(({ digest }) => digest)).size).toBe(1);
    expect(result.tags[0]!.manifests).toHaveLength(1);
    expect(reused).toEqual([]);
    expect(maker.target.pushed).toEqual([...new Set(maker.target.pushed)]);
    const again = await convertWithin(maker.target, request());
    expect(again.tags.map(({ upToDate, size, ratio }) => ({ upToDate, size, ratio }))).toEqual(
      result.tags.map(({ size, ratio }) => ({ upToDate: true, size, ratio })),
    );
  });

  it('converts a base that platforms share once, to what each of them gives alone', async () => {
    const maker = new Maker();
    const base = [maker.layer(smallTar(1)), maker.layer(smallTar(2))];
    const one = maker.image([...base, maker.layer(smallTar(3))]);
    // The same layer upon another one is another layer.
    const two = maker.image([...base, maker.layer(smallTar(4)), base[1]!], { architecture: 'arm64' });
    const { manifests, reused } = await converted(maker, maker.index([one, two]));
    expect(reused).toEqual(base.map(({ digest }) => digest));
    const fetches = maker.target.fetched.filter((digest) => digest === base[0]!.digest);
    expect(fetches).toHaveLength(1);
    for (const [at, descriptor] of [one, two].entries()) {
      const alone = new Maker();
      for (const seed of [1, 2, 3, 4]) alone.layer(smallTar(seed));
      for (const { digest, size, mediaType } of [one, two]) {
        const bytes = await fetchBytes(maker.memory, { mediaType, digest, size }, 1 << 20);
        alone.memory.put(mediaType, bytes);
        const { config } = JSON.parse(Buffer.from(bytes).toString()) as { config: Descriptor };
        alone.memory.put(config.mediaType, await fetchBytes(maker.memory, config, 1 << 20));
      }
      await alone.memory.tag(descriptor, 'base');
      const result = await convertWithin(alone.target, request());
      expect(result.tags[0]!.digest).toBe(manifests[at]!.digest);
    }
  });

  it('keeps to one family of media types, whatever its images use', async () => {
    const maker = new Maker();
    const oci = maker.image([maker.layer(smallTar(1))]);
    await maker.memory.tag(
      maker.json(DOCKER.index, { schemaVersion: 2, mediaType: DOCKER.index, manifests: [oci] }),
      'base',
    );
    const { tags } = await convertWithin(maker.target, request());
    expect(tags.map(({ mediaType }) => mediaType)).toEqual([DOCKER.index, DOCKER.index]);
    const converted = await convertWithin(
      maker.target,
      request({ artifact: { ...request().artifact, oci: true }, force: true }),
    );
    expect(converted.tags.map(({ mediaType }) => mediaType)).toEqual([OCI.index, OCI.index]);
  });
});

describe('the record of converted layers', () => {
  it('is written before the tags', async () => {
    const maker = new Maker();
    await maker.memory.tag(maker.image([maker.layer(smallTar(1))]), 'base');
    await convertWithin(maker.target, request({ cache: true }));
    expect(maker.target.tagged).toEqual([CACHE_TAG, ...BOTH.map(({ tag }) => tag)]);
  });

  it('is done without where the registry does not take it', async () => {
    const maker = new Maker();
    await maker.memory.tag(maker.image([maker.layer(smallTar(1))]), 'base');
    const target = Object.assign(new CountingTarget(maker.memory), {
      async tag(descriptor: Descriptor, tag: string): Promise<void> {
        if (tag === CACHE_TAG) throw new AccelError('registry-error', 'tags are immutable');
        await maker.memory.tag(descriptor, tag);
      },
    });
    const { tags, warnings } = await convertWithin(target, request({ cache: true }));
    expect(tags).toHaveLength(2);
    expect(warnings).toEqual([expect.stringContaining('tags are immutable')]);
  });
});
