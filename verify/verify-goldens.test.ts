/**
 * Verifies the images that the reference's own tools made of the goldens: every difference is a known fault of theirs.
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bytesSource } from '../base/byte-source.ts';
import { LAYER_ANNOTATION, LAYER_VERSION } from '../formats/overlaybd/annotations.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { digestOf } from '../oci/digest.ts';
import { openLayout } from '../oci/layout-target.ts';
import { encodeJson } from '../oci/manifest.ts';
import { OCI } from '../oci/media-types.ts';
import type { Target } from '../oci/storage.ts';
import { verifyReference } from './verify-reference.ts';

const GOLDENS = join(import.meta.dirname, '../fixtures/goldens');

let directory: string;
let target: Target;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'accel-verify-goldens-'));
  target = await openLayout(directory, { create: true });
});
afterAll(() => rm(directory, { recursive: true, force: true }));

async function push(mediaType: string, bytes: Uint8Array): Promise<Descriptor> {
  const descriptor = { mediaType, digest: digestOf(bytes), size: bytes.length };
  await target.push(descriptor, bytesSource(bytes));
  return descriptor;
}

async function image(tag: string, layers: readonly Descriptor[], diffIds: readonly string[]): Promise<string> {
  const rootfs = { type: 'layers', diff_ids: diffIds };
  const config = await push(OCI.config, encodeJson({ os: 'linux', architecture: 'amd64', rootfs }));
  const document = { schemaVersion: 2, mediaType: OCI.manifest, config, layers };
  await target.tag(await push(OCI.manifest, encodeJson(document)), tag);
  return tag;
}

const golden = (path: string): Promise<Uint8Array> => readFile(join(GOLDENS, path));
const unpackedDigest = (bytes: Uint8Array): string => digestOf(gunzipSync(bytes));

async function source(folder: string, count: number): Promise<Descriptor[]> {
  const blobs = await Promise.all(Array.from({ length: count }, (_, i) => golden(`${folder}/layer${i + 1}.tar.gz`)));
  const layers: Descriptor[] = [];
  for (const blob of blobs) layers.push(await push(OCI.layerGzip, blob));
  await image('source', layers, blobs.map(unpackedDigest));
  return layers;
}

/** Pushes the reference's layers of one kind as its convertor describes them. */
async function reference(
  kind: 'full' | 'index-only',
  paths: readonly string[],
  sources: readonly Descriptor[],
): Promise<string> {
  const layers: Descriptor[] = [];
  const diffIds: string[] = [];
  for (const [i, path] of paths.entries()) {
    const bytes = await golden(path);
    const descriptor = await push(kind === 'full' ? OCI.layer : OCI.layerGzip, bytes);
    const annotations = {
      [LAYER_ANNOTATION.blobDigest]: descriptor.digest,
      [LAYER_ANNOTATION.blobSize]: String(descriptor.size),
      [LAYER_ANNOTATION.version]: LAYER_VERSION[kind],
      ...(kind === 'full'
        ? {}
        : {
            [LAYER_ANNOTATION.targetDigest]: sources[i]!.digest,
            [LAYER_ANNOTATION.targetMediaType]: sources[i]!.mediaType,
          }),
    };
    layers.push({ ...descriptor, annotations });
    diffIds.push(kind === 'full' ? descriptor.digest : unpackedDigest(bytes));
  }
  return image('reference', layers, diffIds);
}

async function differences(tag: string): Promise<string[]> {
  const result = await verifyReference({
    accelerated: { target, tagOrDigest: tag },
    source: { target, tagOrDigest: 'source' },
    platforms: [],
    quick: false,
  });
  expect(result.differences).toEqual([]);
  expect(result.images[0]?.warnings).toEqual([
    'the image does not say what it was made from; the given source was taken',
  ]);
  return result.images[0]!.differences.map(
    ({ path, field, expected, found }) => `${path} ${field}: ${expected} | ${found}`,
  );
}

/** fixtures/goldens/README.md lists the kinds of mistakes; these are the places of the others than lost nanoseconds. */
const MISTAKES: readonly string[] = [
  '/etc/dotlink size: 8 | 6',
  '/etc/dotlink target: ./passwd | passwd',
  '/etc/updown size: 21 | 13',
  '/etc/updown target: ../etc/../etc//passwd | ../etc/passwd',
  '/home/user/hugeid uid: 3000000 | 0',
  '/home/user/hugeid gid: 3000001 | 0',
];
/** A time without its nanoseconds. */
const WHOLE_SECOND = /^.* mtime: (\d+)\.\d{9} \| \1\.0{9}$/;

describe('the goldens', () => {
  test('full', async () => {
    const sources = await source('input', 2);
    const tag = await reference('full', ['full/l0/overlaybd.commit', 'full/l1/overlaybd.commit'], sources);
    expect((await differences(tag)).filter((line) => !WHOLE_SECOND.test(line))).toEqual(MISTAKES);
  });

  test('index-only', async () => {
    const sources = await source('input', 2);
    const tag = await reference('index-only', ['turbo/l0/turboOCIv1.tar.gz', 'turbo/l1/turboOCIv1.tar.gz'], sources);
    expect((await differences(tag)).filter((line) => !WHOLE_SECOND.test(line))).toEqual(MISTAKES);
  });

  test.each([
    { name: 'dot', count: 1, found: [] },
    { name: 'opqlate', count: 2, found: [] },
    // An opaque marker at the root is ignored by the reference.
    {
      name: 'rootopq',
      count: 2,
      found: ['/ links: 3 | 4', '/d path: nothing | a directory', '/top path: nothing | a file'],
    },
    { name: 'whdot', count: 2, found: [] },
  ])('edge $name', async ({ name, count, found }) => {
    const sources = await source(`edge/${name}`, count);
    const paths = Array.from({ length: count }, (_, i) => `edge/${name}/full-l${i}.commit`);
    expect(await differences(await reference('full', paths, sources))).toEqual(found);
  });
});
