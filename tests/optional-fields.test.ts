/**
 * Each field of each document that accel reads, in turn missing, null and of other types: what is optional counts as
 * absent or is named in a precise error, what is required is named, and nothing ends in `internal`.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { convertBetween } from '../converter/convert.ts';
import { CACHE_TAG } from '../converter/publish/layer-record.ts';
import { inspectReference } from '../inspect/inspect-reference.ts';
import { digestOf } from '../oci/digest.ts';
import { openLayout } from '../oci/layout-target.ts';
import { encodeJson } from '../oci/manifest.ts';
import { OCI } from '../oci/media-types.ts';
import { MemoryTarget } from '../oci/memory-target.ts';
import { findCredentials } from '../oci/registry/credentials.ts';
import { parseTokenAnswer } from '../oci/registry/token.ts';
import { commandOf } from '../prefetch/startup/command.ts';
import { examineTag } from '../triggers/existing-tag.ts';
import { readEvent } from '../triggers/payload.ts';
import { verifyReference } from '../verify/verify-reference.ts';
import { request, smallTar } from './support/converter.ts';
import { type Json, required, sweep } from './support/field-sweep.ts';

const tar = smallTar(1);
const CONFIG = {
  os: 'linux',
  architecture: 'amd64',
  variant: 'v1',
  created: '2020-01-01T00:00:00Z',
  author: 'me',
  config: { Env: ['A=b'], Entrypoint: ['/bin/sh'], Cmd: ['-c'], WorkingDir: '/', User: 'me', Labels: { a: 'b' } },
  rootfs: { type: 'layers', diff_ids: [digestOf(tar)] },
  history: [{ created: '2020-01-01T00:00:00Z', created_by: 'x', comment: 'y', empty_layer: false }],
};

/** An image in memory, and documents about it. */
class Source {
  readonly target = new MemoryTarget();
  readonly layer = this.target.put(OCI.layer, tar);

  manifest(config: Json = CONFIG): Record<string, Json> {
    return {
      schemaVersion: 2,
      mediaType: OCI.manifest,
      config: this.target.put(OCI.config, encodeJson(config)),
      layers: [{ ...this.layer, annotations: { a: 'b' }, urls: ['https://example.com'] }],
      annotations: { c: 'd' },
    };
  }

  async tag(mediaType: string, document: Json): Promise<void> {
    await this.target.tag(this.target.put(mediaType, encodeJson(document)), 'base');
  }

  /** Inspects, looks at, converts and verifies what is tagged. */
  async use(): Promise<void> {
    const { target } = this;
    const { signal } = new AbortController();
    await inspectReference(target, 'base');
    await examineTag(target, 'base', signal);
    const made = request({ force: true, outputs: [{ tag: 'made', kind: 'full' }], virtualSize: 2 ** 30 } as never);
    await convertBetween({ source: target, target, mountFrom: undefined }, made, {});
    const accelerated = { target, tagOrDigest: 'made' };
    expect((await verifyReference({ accelerated, platforms: [], quick: true })).identical).toBe(true);
  }
}

describe('every field', () => {
  it('of a config', async () => {
    const nulls = await sweep(CONFIG, async (variant) => {
      const source = new Source();
      await source.tag(OCI.manifest, source.manifest(variant));
      await source.use();
    });
    expect(required(nulls)).toEqual(['rootfs', 'rootfs.diff_ids', 'rootfs.diff_ids.0']);
  });

  it('of a manifest', async () => {
    const nulls = await sweep(new Source().manifest(), async (variant) => {
      const source = new Source();
      source.manifest();
      await source.tag(OCI.manifest, variant);
      await source.use();
    });
    expect(required(nulls)).toEqual([
      'schemaVersion',
      'config',
      'config.mediaType',
      'config.digest',
      'config.size',
      'layers',
      'layers.0',
      'layers.0.mediaType',
      'layers.0.digest',
      'layers.0.size',
      'layers.0.urls.0',
    ]);
  });

  it('of an index', async () => {
    const index = (source: Source) => ({
      schemaVersion: 2,
      mediaType: OCI.index,
      manifests: [
        {
          ...source.target.put(OCI.manifest, encodeJson(source.manifest())),
          platform: { os: 'linux', architecture: 'amd64', variant: 'v1', 'os.version': '1', 'os.features': ['x'] },
          annotations: { a: 'b' },
        },
      ],
      annotations: { c: 'd' },
    });
    const nulls = await sweep(index(new Source()), async (variant) => {
      const source = new Source();
      index(source);
      await source.tag(OCI.index, variant);
      await source.use();
    });
    expect(required(nulls)).toEqual([
      'schemaVersion',
      'manifests',
      'manifests.0',
      'manifests.0.mediaType',
      'manifests.0.digest',
      'manifests.0.size',
    ]);
  });

  it('of index.json and oci-layout', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'accel-fields-'));
    const entry = {
      mediaType: OCI.manifest,
      digest: digestOf(tar),
      size: 7,
      annotations: { 'org.opencontainers.image.ref.name': 'a' },
      platform: { os: 'linux', architecture: 'amd64' },
    };
    const write = (name: string, value: Json) => writeFile(join(directory, name), encodeJson(value));
    try {
      const layout = await openLayout(directory, { create: true });
      const index = { schemaVersion: 2, mediaType: OCI.index, manifests: [entry], annotations: { a: 'b' } };
      const nulls = await sweep(index, async (variant) => {
        await write('index.json', variant);
        await layout.tags();
        await layout.resolve('a');
      });
      expect(required(nulls)).toEqual([
        'schemaVersion',
        'manifests',
        'manifests.0',
        'manifests.0.mediaType',
        'manifests.0.digest',
        'manifests.0.size',
        'manifests.0.annotations',
        'manifests.0.annotations.org.opencontainers.image.ref.name',
      ]);
      await write('index.json', index);
      const marker = await sweep({ imageLayoutVersion: '1.0.0' }, async (variant) => {
        await write('oci-layout', variant);
        await openLayout(directory);
      });
      expect(required(marker)).toEqual(['imageLayoutVersion']);
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  });

  it('of the record of layers, which is a hint and never an error', async () => {
    const source = new Source();
    await source.tag(OCI.manifest, source.manifest());
    const run = (target: MemoryTarget) => {
      const outputs = [{ tag: 'made', kind: 'full' }] as const;
      return convertBetween({ source: target, target, mountFrom: undefined }, request({ outputs, cache: true }), {});
    };
    await run(source.target);
    const text = async (digest: string, size: number) => {
      const parts = await source.target.fetchRange({ mediaType: '', digest, size }, 0, size);
      return JSON.parse(Buffer.from(parts).toString()) as Record<string, Json>;
    };
    const named = await source.target.resolve(CACHE_TAG);
    const manifest = (await text(named.digest, named.size)) as unknown as {
      layers: { digest: string; size: number }[];
    };
    const record = await text(manifest.layers[0]!.digest, manifest.layers[0]!.size);
    const put = async (variant: Json, document: Json) => {
      const bytes = encodeJson(variant);
      const layers = [{ ...manifest.layers[0], digest: digestOf(bytes), size: bytes.length }];
      source.target.put('application/vnd.accel-image.cache.v1+json', bytes);
      const changed = { ...(document as object), layers };
      await source.target.tag(source.target.put(OCI.manifest, encodeJson(changed)), CACHE_TAG);
      await source.target.tag(await source.target.resolve('base'), 'made');
      await run(source.target);
    };
    const nulls = await sweep(record, (variant) => put(variant, manifest));
    expect(required(nulls)).toEqual([]);
    const { layers: _, ...rest } = manifest as unknown as Record<string, Json>;
    expect(required(await sweep(rest, (variant) => put(record, variant)))).toEqual([]);
  });

  it('of the answer of a token server', async () => {
    const answer = { token: 'abc', access_token: 'abc', expires_in: 60, issued_at: '2020-01-01T00:00:00Z', scope: 'x' };
    const nulls = await sweep(answer, (variant) => parseTokenAnswer(JSON.stringify(variant), 0, {}));
    expect(required(nulls)).toEqual([]);
  });

  it('of the configuration of Docker', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'accel-fields-'));
    const auth = Buffer.from('user:password').toString('base64');
    const config = {
      auths: { 'example.com': { auth, username: 'u', password: 'p', identitytoken: '', registrytoken: '' } },
      credsStore: '',
      credHelpers: { 'other.example.com': 'none' },
      HttpHeaders: { a: 'b' },
    };
    try {
      const nulls = await sweep(config, async (variant) => {
        await writeFile(join(directory, 'config.json'), JSON.stringify(variant));
        const env = { DOCKER_CONFIG: directory, HOME: directory, PATH: directory };
        await findCredentials('example.com', 'app', { env, warn: () => undefined });
      });
      expect(required(nulls)).toEqual([]);
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  });

  it('of an event', async () => {
    const registry_package = {
      name: 'app',
      namespace: 'team',
      ecosystem: 'CONTAINER',
      package_type: 'CONTAINER',
      owner: { login: 'team' },
      registry: { type: 'container' },
      package_version: {
        version: digestOf(tar),
        package_url: 'ghcr.io/team/app:1',
        container_metadata: { tag: { name: '1', digest: digestOf(tar) }, manifest: { digest: digestOf(tar) } },
        docker_metadata: [{ tags: ['1'] }],
      },
    };
    const pushed = { action: 'published', registry_package };
    expect(required(await sweep(pushed, (variant) => readEvent('registry_package', variant)))).toEqual([
      'registry_package',
    ]);
    const sent = { action: 'x', client_payload: { repository: 'ghcr.io/team/app', tag: '1', digest: digestOf(tar) } };
    expect(required(await sweep(sent, (variant) => readEvent('repository_dispatch', variant)))).toEqual([
      'client_payload',
    ]);
  });

  it('of what is started', async () => {
    expect(required(await sweep(CONFIG.config, (variant) => commandOf({ config: variant } as never)))).toEqual([]);
  });
});
