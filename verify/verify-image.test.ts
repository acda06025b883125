/** Verification finds nothing where nothing is wrong, and every fault that is put in by hand. */
import { cp, mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, test } from 'vitest';
import { bytesSource } from '../base/byte-source.ts';
import { buildIndexLayout, buildLayout } from '../fixtures/image-builder.ts';
import { TarBuilder } from '../fixtures/tar-builder.ts';
import { decodeGzipIndex, encodeGzipIndex } from '../formats/gzip/gzip-index.ts';
import { LAYER_ANNOTATION } from '../formats/overlaybd/annotations.ts';
import { PIECE_LIST_ANNOTATION } from '../formats/piece-list/piece-list.ts';
import { packTurboLayer, unpackTurboLayer } from '../formats/turbo/turbo-layer.ts';
import { type ImageConfig, parseConfig } from '../oci/config.ts';
import { fetchBytes } from '../oci/content.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { digestOf } from '../oci/digest.ts';
import { openLayout } from '../oci/layout-target.ts';
import { encodeJson, type ImageManifest, parseManifest } from '../oci/manifest.ts';
import type { Target } from '../oci/storage.ts';
import { IMAGES } from '../tests/e2e/images.ts';
import { convertWithin, request } from '../tests/support/converter.ts';
import { type VerifyResult, verifyReference } from './verify-reference.ts';

const FULL = 'base_accelerated';
const INDEXED = 'base_containerd_accelerated';
const BOTH = [FULL, INDEXED] as const;

let directory: string;
let target: Target;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'accel-verify-'));
});
afterAll(() => rm(directory, { recursive: true, force: true }));

/** A fresh layout with an image of these tars under `base`, converted to both tags. */
async function converted(name: string, tars: readonly Uint8Array[]): Promise<string> {
  const path = join(directory, name);
  await buildLayout(
    path,
    'base',
    tars.map((tar) => ({ tar })),
  );
  target = await openLayout(path);
  await convertWithin(target, request());
  return path;
}

async function verify(
  tag: string,
  options: { quick?: boolean; source?: string; platforms?: string[] } = {},
): Promise<VerifyResult> {
  const { quick = false, source, platforms = [] } = options;
  return verifyReference({
    accelerated: { target, tagOrDigest: tag },
    platforms,
    quick,
    ...(source === undefined ? {} : { source: { target, tagOrDigest: source } }),
  });
}

/** Every difference as `path field: expected | found`. */
function lines({ differences, images }: VerifyResult, scope?: 'tree' | 'image'): string[] {
  return [...differences, ...images.flatMap((image) => image.differences)]
    .filter((difference) => scope === undefined || difference.scope === scope)
    .map(({ path, field, expected, found }) => `${path} ${field}: ${expected} | ${found}`);
}

describe('nothing differs', () => {
  test.each(IMAGES.map((image, index) => ({ ...image, index })))('$name', async ({ layers, index }) => {
    await converted(`clean-${index}`, await layers());
    for (const tag of BOTH) {
      for (const quick of [false, true]) {
        const result = await verify(tag, { quick });
        expect(lines(result)).toEqual([]);
        expect(result.identical).toBe(true);
        expect(result.images[0]?.compared.paths).toBeGreaterThan(1);
      }
    }
  });

  it('in the demo image', async () => {
    const path = join(directory, 'demo');
    await cp(join(import.meta.dirname, '../fixtures/images/demo'), path, { recursive: true });
    target = await openLayout(path);
    await convertWithin(target, request({ source: { tag: 'latest' } }));
    for (const tag of BOTH) expect(lines(await verify(tag))).toEqual([]);
  });

  it('whatever the source is compressed with, for Docker, and in sparse files of a terabyte', async () => {
    const path = join(directory, 'mixed');
    const terabyte = new TarBuilder().file('lastlog', 'tail', {
      pax: {
        'GNU.sparse.major': '0',
        'GNU.sparse.minor': '1',
        'GNU.sparse.size': String(2 ** 40),
        'GNU.sparse.numblocks': '1',
        'GNU.sparse.map': `${2 ** 40 - 4},4`,
      },
    });
    const tar = (seed: number) => new TarBuilder().file(`f${seed}`, `${seed}`.repeat(50_000)).build();
    const layers = [
      { tar: terabyte.build(), compression: 'none' as const },
      { tar: tar(1), compression: 'zstd' as const },
      { tar: tar(2), compression: 'gzip-members' as const },
      { tar: tar(3), compression: 'gzip' as const },
    ];
    await buildLayout(path, 'base', layers, { docker: true, emptyHistory: true });
    target = await openLayout(path);
    await convertWithin(target, request());
    const kinds: string[] = [];
    for (const tag of BOTH) {
      const result = await verify(tag);
      expect(lines(result)).toEqual([]);
      kinds.push(`${result.images[0]?.compared.bytes}`);
    }
    expect(kinds).toEqual([`${2 ** 40 + 150_000}`, `${2 ** 40 + 150_000}`]);
  });

  it('in any platform of an index', async () => {
    const path = join(directory, 'index');
    const member = (architecture: string) => ({
      layers: [{ tar: new TarBuilder().file(architecture, architecture).build() }],
      options: { platform: { os: 'linux', architecture } },
    });
    await buildIndexLayout(path, 'base', [member('amd64'), { attestation: true }, member('arm64')]);
    target = await openLayout(path);
    await convertWithin(target, request());
    const all = await verify(FULL);
    expect(lines(all)).toEqual([]);
    expect(all.images.map(({ platform }) => platform)).toEqual(['linux/amd64', 'linux/arm64']);
    expect((await verify(FULL, { platforms: ['linux/arm64'] })).images.map(({ platform }) => platform)).toEqual([
      'linux/arm64',
    ]);
    expect(lines(await verify(FULL, { source: 'base' }))).toEqual([]);
    await expect(verify(FULL, { platforms: ['linux/s390x'] })).rejects.toMatchObject({ code: 'not-found' });
    await buildLayout(path, 'other', [{ tar: new TarBuilder().file('x').build() }]);
    const found = await verify(FULL, { source: 'other', platforms: ['linux/amd64'] });
    expect(lines(found, 'tree')).toEqual(['/amd64 path: nothing | a file', '/x path: a file | nothing']);
  });
});

/** One change of the source after which the accelerated image no longer fits it. */
interface Change {
  readonly seconds?: string;
  readonly xattrs?: Record<string, string>;
  readonly apart?: boolean;
  readonly content?: string;
  readonly mode?: number;
  readonly uid?: number;
  readonly target?: string;
  readonly minor?: number;
  readonly keep?: boolean;
  readonly kind?: 'fifo';
}

function stack(change: Change = {}): Uint8Array[] {
  const su = { mode: change.mode ?? 0o4755, uid: change.uid ?? 7, xattrs: change.xattrs ?? { 'user.a': '1' } };
  const lower = new TarBuilder()
    .dir('etc/')
    .file('etc/gone', 'x')
    .dir('etc/gone.d/')
    .file('etc/gone.d/x', 'x')
    .file('etc/passwd', change.content ?? 'root:x:0', { mtime: change.seconds ?? '1700000000.000000001' })
    .file('bin/su', 'su', su)
    .symlink('etc/link', change.target ?? './passwd')
    .device('dev/null', 'character', 1, change.minor ?? 3);
  if (change.apart === true) lower.file('bin/sudo', 'su', { mode: 0o4755, uid: 7, xattrs: { 'user.a': '1' } });
  else lower.link('bin/sudo', 'bin/su', su);
  if (change.kind === 'fifo') lower.fifo('pipe', { mode: 0o644 });
  else lower.file('pipe', '');
  const upper = new TarBuilder().file('etc/new', 'y');
  if (change.keep !== true) upper.whiteout('etc/gone').whiteout('etc/gone.d');
  return [lower.build(), upper.build()];
}

const sha = (text: string): string => digestOf(Buffer.from(text));

describe('a difference is found and named', () => {
  const CHANGES: readonly { readonly name: string; readonly change: Change; readonly found: readonly string[] }[] = [
    { name: 'nothing', change: {}, found: [] },
    {
      name: 'one nanosecond',
      change: { seconds: '1700000000.000000002' },
      found: ['/etc/passwd mtime: 1700000000.000000001 | 1700000000.000000002'],
    },
    {
      name: 'a time before 1970',
      change: { seconds: '-0.25' },
      found: ['/etc/passwd mtime: 1700000000.000000001 | -0.250000000'],
    },
    {
      name: 'an attribute removed, another put',
      change: { xattrs: { 'user.b': '1' } },
      found: [
        '/bin/su xattr user.a: 0x31 | nothing',
        '/bin/su xattr user.b: nothing | 0x31',
        '/bin/sudo xattr user.a: 0x31 | nothing',
        '/bin/sudo xattr user.b: nothing | 0x31',
      ],
    },
    {
      name: 'a hard link broken',
      change: { apart: true },
      found: [
        '/bin/su links: 2 | 1',
        '/bin/sudo links: 2 | 1',
        '/bin/sudo hard link: the file of /bin/su | another file',
      ],
    },
    {
      name: 'content of the same size',
      change: { content: 'root:y:0' },
      found: [`/etc/passwd content: ${sha('root:x:0')} | ${sha('root:y:0')}`],
    },
    { name: 'size', change: { content: 'root' }, found: ['/etc/passwd size: 8 | 4'] },
    { name: 'mode', change: { mode: 0o755 }, found: ['/bin/su mode: 4755 | 0755', '/bin/sudo mode: 4755 | 0755'] },
    { name: 'owner', change: { uid: 70_000 }, found: ['/bin/su uid: 7 | 70000', '/bin/sudo uid: 7 | 70000'] },
    { name: 'the text of a symlink', change: { target: 'etc/pass' }, found: ['/etc/link target: ./passwd | etc/pass'] },
    { name: 'a device', change: { minor: 4 }, found: ['/dev/null device: 1,3 | 1,4'] },
    { name: 'type', change: { kind: 'fifo' }, found: ['/pipe type: file | fifo'] },
    {
      name: 'a whiteout dropped',
      change: { keep: true },
      found: ['/etc links: 2 | 3', '/etc/gone path: nothing | a file', '/etc/gone.d path: nothing | a directory'],
    },
  ];

  test.each(CHANGES)('$name', async ({ name, change, found }) => {
    const path = await converted(`change-${name.replaceAll(/\W/g, '')}`, stack(change));
    await buildLayout(
      path,
      'original',
      stack().map((tar) => ({ tar })),
    );
    for (const tag of BOTH) {
      const result = await verify(tag, { source: 'original' });
      expect(lines(result, 'tree')).toEqual(found);
      expect(result.identical).toBe(found.length === 0);
      const quick = await verify(tag, { source: 'original', quick: true });
      expect(lines(quick, 'tree')).toEqual(found.filter((line) => !line.includes(' content: ')));
    }
    if (found.length === 0) return;
    // With the images swapped the missing file is extra, and the image scope reports another source.
    const other = lines(await verify(FULL, { source: 'original' }), 'image');
    expect(other.map((line) => line.split(':')[0])).toContain('manifest source digest');
  });

  it('two files made one', async () => {
    const path = await converted('joined', stack());
    await buildLayout(
      path,
      'original',
      stack({ apart: true }).map((tar) => ({ tar })),
    );
    const found = lines(await verify(FULL, { source: 'original' }), 'tree');
    expect(found).toEqual([
      '/bin/su links: 1 | 2',
      '/bin/sudo links: 1 | 2',
      '/bin/sudo hard link: another file | the file of /bin/su',
    ]);
  });
});

/** A manifest that differs from that of `tag`, pushed and named `name`. */
async function remade(
  tag: string,
  name: string,
  change: (parts: { manifest: ImageManifest; config: ImageConfig }) => {
    manifest?: ImageManifest;
    config?: ImageConfig;
  },
): Promise<string> {
  const descriptor = await target.resolve(tag);
  const manifest = parseManifest(await fetchBytes(target, descriptor, 1 << 22), descriptor);
  const config = parseConfig(await fetchBytes(target, manifest.config, 1 << 22), manifest.config);
  const next = change({ manifest, config });
  const pushed = await push(manifest.config.mediaType, encodeJson(next.config ?? config));
  const document = await push(descriptor.mediaType, encodeJson({ ...(next.manifest ?? manifest), config: pushed }));
  await target.tag(document, name);
  return name;
}

async function push(mediaType: string, bytes: Uint8Array): Promise<Descriptor> {
  const descriptor = { mediaType, digest: digestOf(bytes), size: bytes.length };
  await target.push(descriptor, bytesSource(bytes));
  return descriptor;
}

const swap = <T>([first, second, ...rest]: readonly T[]): T[] => [second!, first!, ...rest];

describe('the structure', () => {
  beforeAll(() => converted('structure', stack()));

  /** Fields of the image that differ. */
  const fields = async (name: string): Promise<string[]> =>
    lines(await verify(name, { quick: true }), 'image').map((line) => line.slice(0, line.indexOf(':')));

  test.each(BOTH)('%s with two layers swapped', async (tag) => {
    const name = await remade(tag, 'swapped', ({ manifest }) => ({
      manifest: { ...manifest, layers: swap(manifest.layers) },
    }));
    const result = await verify(name);
    expect(lines(result, 'image')).toContainEqual(expect.stringContaining('config diff_id of layer 1 of 2'));
    expect(lines(result, 'tree')).not.toEqual([]);
  });

  it('full layers swapped together with their diff_ids', async () => {
    const name = await remade(FULL, 'swapped-ids', ({ manifest, config }) => ({
      manifest: { ...manifest, layers: swap(manifest.layers) },
      config: { ...config, rootfs: { ...config.rootfs, diff_ids: swap(config.rootfs.diff_ids) } },
    }));
    expect((await verify(name)).identical).toBe(false);
  });

  it('a config that was touched', async () => {
    const name = await remade(FULL, 'config', ({ config }) => ({
      config: { ...config, config: { Cmd: ['/bin/false'] }, history: config.history!.slice(1) },
    }));
    expect(await fields(name)).toEqual(['config config', 'config history', 'config history entries with a layer']);
  });

  it('annotations that lie', async () => {
    const name = await remade(FULL, 'annotations', ({ manifest }) => ({
      manifest: {
        ...manifest,
        annotations: { ...manifest.annotations, 'accel-image/source-digest': manifest.config.digest },
        layers: manifest.layers.map((layer) => ({
          ...layer,
          annotations: {
            [LAYER_ANNOTATION.blobDigest]: manifest.config.digest,
            [LAYER_ANNOTATION.blobSize]: '1',
            [LAYER_ANNOTATION.version]: '9',
            [LAYER_ANNOTATION.fsType]: 'xfs',
          },
        })),
      },
    }));
    const found = lines(await verify(name, { source: 'base', quick: true }), 'image').map((line) =>
      line.slice(0, line.indexOf(':')),
    );
    expect(found).toEqual([
      'manifest source digest',
      ...[1, 2].flatMap((n) =>
        ['blob-digest', 'blob-size', 'version', 'blob-fs-type'].map((a) => `layer ${n} of 2 annotation ${a}`),
      ),
    ]);
  });

  it('an index-only layer above a full one', async () => {
    const full = await target.resolve(FULL);
    const { layers } = parseManifest(await fetchBytes(target, full, 1 << 22), full);
    const name = await remade(INDEXED, 'mixed', ({ manifest, config }) => ({
      manifest: { ...manifest, layers: [layers[0]!, manifest.layers[1]!] },
      config: { ...config, rootfs: { ...config.rootfs, diff_ids: [layers[0]!.digest, config.rootfs.diff_ids[1]!] } },
    }));
    expect(await fields(name)).toEqual(['layer 2 of 2 kind']);
  });

  it('a layer left out', async () => {
    const name = await remade(FULL, 'short', ({ manifest }) => ({
      manifest: { ...manifest, layers: manifest.layers.slice(0, 1) },
    }));
    expect(await fields(name)).toEqual(['manifest layers', 'config diff_ids', 'config history entries with a layer']);
    expect(lines(await verify(name), 'tree')).toContain('/etc/new path: a file | nothing');
  });

  it('no record and no source: there is nothing to compare with', async () => {
    const name = await remade(FULL, 'anonymous', ({ manifest }) => ({ manifest: { ...manifest, annotations: {} } }));
    await expect(verify(name)).rejects.toMatchObject({ code: 'usage', hint: expect.stringContaining('source') });
    const result = await verify(name, { source: 'base' });
    expect([result.identical, result.images[0]?.warnings.length]).toEqual([true, 1]);
  });

  it('an ordinary image is refused', async () => {
    await expect(verify('base', { source: 'base' })).rejects.toMatchObject({ code: 'image-unsupported' });
  });
});

describe('the gzip index', () => {
  /** Two megabytes of text that keeps referring back. */
  const words = Array.from({ length: 250_000 }, (_, i) => `${(i * 2_654_435_761) % 9973}`).join(' ');

  async function withIndex(change: (bytes: Uint8Array) => Uint8Array): Promise<string> {
    await converted('points', [new TarBuilder().file('words', words).build()]);
    const descriptor = await target.resolve(INDEXED);
    const {
      layers: [layer],
    } = parseManifest(await fetchBytes(target, descriptor, 1 << 22), descriptor);
    const parts = await unpackTurboLayer(await fetchBytes(target, layer!, 1 << 26));
    const { blob, diffId } = await packTurboLayer({ fsMeta: parts.fsMeta, gzipIndex: change(parts.gzipIndex!) });
    const { digest, size } = await push(layer!.mediaType, blob);
    // Its list is that of the layer as it was.
    const { [PIECE_LIST_ANNOTATION]: _, ...kept } = layer!.annotations ?? {};
    const annotations = {
      ...kept,
      [LAYER_ANNOTATION.blobDigest]: digest,
      [LAYER_ANNOTATION.blobSize]: String(size),
    };
    return remade(INDEXED, 'points', ({ manifest, config }) => ({
      manifest: { ...manifest, layers: [{ ...layer!, digest, size, annotations }] },
      config: { ...config, rootfs: { ...config.rootfs, diff_ids: [diffId] } },
    }));
  }

  it('as it was is fine', async () => {
    const name = await withIndex((bytes) => bytes);
    expect(lines(await verify(name))).toEqual([]);
  });

  it('with one byte of a window flipped names the access point and the blob', async () => {
    const name = await withIndex((bytes) => {
      const index = decodeGzipIndex(bytes);
      expect(index.points.length).toBeGreaterThan(1);
      const { window } = index.points[1]!;
      window[window.length >> 1]! ^= 1;
      return bytes;
    });
    const found = lines(await verify(name));
    expect(found).toEqual([
      expect.stringMatching(/^layer 1 of 1 access point 1: sha256:\w+ \| unreadable: .*, digest sha256:/),
    ]);
  });

  it('with a window of another place names the access point', async () => {
    const name = await withIndex((bytes) => {
      const index = decodeGzipIndex(bytes);
      return encodeGzipIndex({
        ...index,
        points: index.points.map((point) => ({ ...point, window: index.points[0]!.window })),
      });
    });
    expect(lines(await verify(name))).toEqual([
      expect.stringMatching(/^layer 1 of 1 access point 1: sha256:\w+ \| sha256:/),
    ]);
  });

  it.each([
    ['gzip_file_size', 1, 0],
    ['uncompress_file_size', 0, 512],
  ])('with a wrong %s', async (field, compressed, uncompressed) => {
    const name = await withIndex((bytes) => {
      const index = decodeGzipIndex(bytes);
      const compressedSize = index.compressedSize + compressed;
      return encodeGzipIndex({ ...index, compressedSize, uncompressedSize: index.uncompressedSize + uncompressed });
    });
    const found = lines(await verify(name));
    expect(found.some((line) => line.startsWith(`layer 1 of 1 ${field}:`))).toBe(true);
  });
});

describe('one byte flipped', () => {
  /** Flips a byte of a blob's file, runs, and puts it back. */
  async function flipped<T>(path: string, { digest }: Descriptor, offset: number, body: () => Promise<T>): Promise<T> {
    const file = await open(join(path, 'blobs', ...digest.split(':')), 'r+');
    try {
      const byte = Buffer.alloc(1);
      await file.read(byte, 0, 1, offset);
      await file.write(Buffer.of(byte[0]! ^ 0x10), 0, 1, offset);
      try {
        return await body();
      } finally {
        await file.write(byte, 0, 1, offset);
      }
    } finally {
      await file.close();
    }
  }

  test.each(BOTH)('anywhere in the layers of %s is found, and the path or the blob named', async (tag) => {
    const path = await converted(`flip-${tag}`, stack());
    const descriptor = await target.resolve(tag);
    const { layers } = parseManifest(await fetchBytes(target, descriptor, 1 << 22), descriptor);
    for (const layer of layers) {
      for (let i = 0; i < 24; i++) {
        const offset = Math.floor(((i + 0.5) * layer.size) / 24);
        const text = await flipped(path, layer, offset, async () => {
          target = await openLayout(path);
          return verify(tag).then(
            (result) => lines(result).join('\n'),
            (error: Error & { where?: Record<string, unknown> }) =>
              `${error.message} ${Object.values(error.where ?? {}).join(' ')}`,
          );
        });
        expect(text, `byte ${offset}`).toContain(layer.digest);
      }
    }
    expect(lines(await verify(tag))).toEqual([]);
  });

  it('in the data of a full layer names the file', async () => {
    const path = await converted('flip-data', [
      new TarBuilder().file('first', 'x').file('noise', noise(200_000)).build(),
    ]);
    const descriptor = await target.resolve(FULL);
    const {
      layers: [layer],
    } = parseManifest(await fetchBytes(target, descriptor, 1 << 22), descriptor);
    const found = await flipped(path, layer!, 100_000, () => verify(FULL));
    expect(lines(found, 'tree')).toEqual([
      expect.stringMatching(/^\/noise content: sha256:\w+ \| unreadable: .*sha256:/),
    ]);
    expect(lines(found, 'image')).toEqual([expect.stringContaining('layer 1 of 1 blob')]);
    // Without a look at content nothing of it is read, and the rest is sound.
    expect(lines(await flipped(path, layer!, 100_000, () => verify(FULL, { quick: true })))).toEqual([]);
  });

  it('in a source layer is an error that names it', async () => {
    const path = await converted('flip-source', stack());
    const descriptor = await target.resolve('base');
    const { layers } = parseManifest(await fetchBytes(target, descriptor, 1 << 22), descriptor);
    const failure = await flipped(path, layers[1]!, 60, () => verify(FULL).catch((error: unknown) => error));
    expect(failure).toMatchObject({ where: { digest: layers[1]!.digest, 'source layer': '2 of 2' } });
  });

  it('a source that is gone is asked for', async () => {
    const path = await converted('gone', stack());
    const descriptor = await target.resolve('base');
    await rm(join(path, 'blobs', ...descriptor.digest.split(':')));
    target = await openLayout(path);
    await expect(verify(FULL)).rejects.toMatchObject({ code: 'not-found', hint: expect.stringContaining('source') });
  });
});

/** Bytes that do not shrink. */
function noise(size: number): Uint8Array {
  let state = 1;
  return Uint8Array.from({ length: size }, () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state >>> 24;
  });
}
