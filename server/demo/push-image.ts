/**
 * Pushes an image without any tool: `node push-image.js HOST/REPOSITORY:TAG [LAYOUT]`. Without a layout it makes an image of four layers,
 * 16 MB, of which half compresses. Speaks plain HTTP, and is for the demo registry.
 */
import { createHash, randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const MIB = 2 ** 20;
const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
const LAYERS = 4;

/** A document of an image, or a layer of it. */
interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

interface Manifest {
  readonly mediaType?: string;
  readonly config?: Descriptor;
  readonly layers?: readonly Descriptor[];
  readonly manifests?: readonly Descriptor[];
}

/** Where to push to. */
interface Target {
  /** `http://HOST/v2/REPOSITORY`. */
  readonly base: string;
  readonly tag: string;
}

if (process.argv[1] !== undefined && resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const [reference, layout] = process.argv.slice(2);
  if (reference === undefined) throw new Error('usage: node push-image.js HOST/REPOSITORY:TAG [LAYOUT]');
  await (layout === undefined ? pushMadeImage(reference) : pushLayout(reference, layout));
  console.log(`pushed ${reference}`);
}

/** Pushes the only image of an OCI layout. Throws for a registry that does not take it. */
export async function pushLayout(reference: string, layout: string): Promise<void> {
  const target = targetOf(reference);
  const blob = (digest: string): Promise<Buffer> => readFile(join(layout, 'blobs', digest.replace(':', '/')));
  const index = JSON.parse(await readFile(join(layout, 'index.json'), 'utf8')) as Manifest;
  const pushOne = async ({ digest, mediaType }: Descriptor, name: string): Promise<void> => {
    const bytes = await blob(digest);
    const { config, layers = [], manifests = [] } = JSON.parse(bytes.toString('utf8')) as Manifest;
    for (const child of manifests) await pushOne(child, child.digest);
    for (const part of [...(config === undefined ? [] : [config]), ...layers]) {
      await pushBlob(target, await blob(part.digest));
    }
    await put(`${target.base}/manifests/${name}`, bytes, mediaType);
  };
  const [image] = index.manifests ?? [];
  if (image === undefined) throw new Error(`${layout} has no image`);
  await pushOne(image, target.tag);
}

/** Makes an image and pushes it. Throws for a registry that does not take it. */
export async function pushMadeImage(reference: string, layerBytes = 4 * MIB): Promise<void> {
  const target = targetOf(reference);
  const tars = Array.from({ length: LAYERS }, (_, index) => layerTar(index, layerBytes));
  const layers = [];
  for (const tar of tars) {
    layers.push({ mediaType: 'application/vnd.oci.image.layer.v1.tar', ...(await pushBlob(target, tar)) });
  }
  const config = Buffer.from(
    JSON.stringify({
      architecture: 'amd64',
      os: 'linux',
      config: {},
      rootfs: { type: 'layers', diff_ids: tars.map(digestOf) },
    }),
  );
  const described = { mediaType: 'application/vnd.oci.image.config.v1+json', ...(await pushBlob(target, config)) };
  const manifest = { schemaVersion: 2, mediaType: MANIFEST, config: described, layers };
  await put(`${target.base}/manifests/${target.tag}`, Buffer.from(JSON.stringify(manifest)), MANIFEST);
}

function targetOf(reference: string): Target {
  const [, host, repository, tag] = /^([^/]+)\/(.+):([^:/]+)$/.exec(reference) ?? [];
  if (tag === undefined) throw new Error(`expected HOST/REPOSITORY:TAG, found ${reference}`);
  return { base: `http://${host}/v2/${repository}`, tag };
}

async function pushBlob({ base }: Target, bytes: Buffer): Promise<{ digest: string; size: number }> {
  const digest = digestOf(bytes);
  if ((await fetch(`${base}/blobs/${digest}`, { method: 'HEAD' })).status !== 200) {
    const started = await fetch(`${base}/blobs/uploads/`, { method: 'POST' });
    const place = new URL(started.headers.get('location') ?? '', base);
    place.searchParams.set('digest', digest);
    await put(place.href, bytes, 'application/octet-stream');
  }
  return { digest, size: bytes.length };
}

async function put(url: string, bytes: Buffer, type: string): Promise<void> {
  const answer = await fetch(url, { method: 'PUT', headers: { 'content-type': type }, body: new Uint8Array(bytes) });
  if (answer.status !== 201) throw new Error(`PUT ${url}: HTTP ${answer.status}`);
}

/** A tar with one file, whose second half is zeros. Source: POSIX ustar. */
function layerTar(index: number, size: number): Buffer {
  const header = Buffer.alloc(512);
  header.write(`layer-${index}.bin`, 0);
  header.write('0000644\0', 100);
  header.write('0000000\0', 108);
  header.write('0000000\0', 116);
  header.write(`${size.toString(8).padStart(11, '0')}\0`, 124);
  header.write('00000000000\0', 136);
  header.write('        0', 148);
  header.write('ustar\u000000', 257);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  const content = Buffer.alloc(Math.ceil(size / 512) * 512 + 1024);
  randomBytes(Math.floor(size / 2)).copy(content);
  return Buffer.concat([header, content]);
}

function digestOf(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}
