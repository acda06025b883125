/** A view of the target in which the blobs of a run without upload stand as if they had been pushed. */
import { open } from 'node:fs/promises';
import { AccelError } from '../../base/error.ts';
import { canSizeBlobs } from '../../oci/powers.ts';
import type { BlobSizer, Target } from '../../oci/storage.ts';
import type { LayerBlob } from '../layer/engines/engine.ts';
import type { Session } from '../session.ts';
import type { LayerBlobs } from './output-manifest.ts';

/** The target with the blobs of `made`; what it does not hold is looked for in the source. Nothing can be pushed to it. */
export function unpushedTarget({ target, source }: Session, made: readonly LayerBlobs[]): Target & BlobSizer {
  const blobs = new Map(
    made
      .flatMap(({ full, index }) => [full, index])
      .filter((blob) => blob !== undefined)
      .map((blob) => [blob.digest, blob]),
  );
  return {
    name: target.name,
    async fetch(descriptor, options) {
      return blobs.get(descriptor.digest)?.content.open() ?? target.fetch(descriptor, options);
    },
    async fetchRange(descriptor, offset, length, options) {
      const blob = blobs.get(descriptor.digest);
      return blob === undefined ? target.fetchRange(descriptor, offset, length, options) : partOf(blob, offset, length);
    },
    blobSize: (digest, options) => sizerOf(source).blobSize(digest, options),
    exists: async (descriptor, options) => blobs.has(descriptor.digest) || target.exists(descriptor, options),
    resolve: (tagOrDigest, options) => target.resolve(tagOrDigest, options),
    push: () => refuse(target),
    tag: () => refuse(target),
  };
}

function sizerOf(source: Target): BlobSizer {
  if (canSizeBlobs(source)) return source;
  throw new AccelError('image-unsupported', 'this source cannot tell the size of a layer', {
    where: { target: source.name },
  });
}

function refuse({ name }: Target): never {
  throw new AccelError('internal', 'a run without upload was about to push', { where: { target: name } });
}

async function partOf({ path, content }: LayerBlob, offset: number, length: number): Promise<Uint8Array> {
  if (path === undefined) {
    const chunks: Uint8Array[] = [];
    for await (const chunk of content.open()) chunks.push(chunk);
    return Buffer.concat(chunks).subarray(offset, offset + length);
  }
  const file = await open(path);
  try {
    const { buffer, bytesRead } = await file.read(new Uint8Array(length), 0, length, offset);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}
