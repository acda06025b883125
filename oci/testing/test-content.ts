/** Content for tests of oci/: incompressible bytes, small images, referrers, and a helper for expected failures. */
import { expect } from 'vitest';
import { type BlobSource, bytesSource } from '../../base/byte-source.ts';
import { AccelError, type AccelErrorCode } from '../../base/error.ts';
import type { Descriptor } from '../descriptor.ts';
import { digestOf } from '../digest.ts';
import { encodeJson } from '../manifest.ts';
import { OCI } from '../media-types.ts';
import { subjectOf } from '../referrers.ts';
import type { Target } from '../storage.ts';

/** Awaits a rejection with an AccelError of this code and returns it. */
export async function rejects(promise: Promise<unknown>, code: AccelErrorCode): Promise<AccelError> {
  const outcome = await promise.then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(outcome).toBeInstanceOf(AccelError);
  const error = outcome as AccelError;
  expect({ code: error.code, message: error.message }).toEqual({ code, message: error.message });
  return error;
}

/** `size` incompressible bytes that depend on the seed alone. */
export function noise(size: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(size);
  let state = (seed * 2_654_435_761) >>> 0 || 1;
  for (let i = 0; i < size; i += 1) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes[i] = state;
  }
  return bytes;
}

/** The descriptor of bytes as a layer. */
export function blob(bytes: Uint8Array): Descriptor {
  return { mediaType: OCI.layer, digest: digestOf(bytes), size: bytes.length };
}

/** A source that hands bytes out `step` at a time. */
export function pieces(bytes: Uint8Array, step: number): BlobSource {
  return {
    async *open() {
      for (let at = 0; at < bytes.length; at += step) yield bytes.slice(at, at + step);
    },
  };
}

/** Pushes a config, a layer and a manifest that differ by `label`. */
export async function pushImage(
  target: Target,
  label: string,
  layer: Uint8Array = new TextEncoder().encode(`layer of ${label}`),
): Promise<{ descriptor: Descriptor; bytes: Uint8Array }> {
  const config = encodeJson({
    os: 'linux',
    architecture: 'amd64',
    config: { Labels: { label } },
    rootfs: { type: 'layers', diff_ids: [digestOf(layer)] },
  });
  const configDescriptor = { mediaType: OCI.config, digest: digestOf(config), size: config.length };
  await target.push(blob(layer), bytesSource(layer));
  await target.push(configDescriptor, bytesSource(config));
  const bytes = encodeJson({
    schemaVersion: 2,
    mediaType: OCI.manifest,
    config: configDescriptor,
    layers: [blob(layer)],
  });
  const descriptor = { mediaType: OCI.manifest, digest: digestOf(bytes), size: bytes.length };
  await target.push(descriptor, bytesSource(bytes));
  return { descriptor, bytes };
}

/**
 * A manifest that refers to `subject`; its empty config is pushed. `extra`: further fields of the subject, or `none` to leave
 * the subject out.
 */
export async function referrerOf(
  target: Target,
  subject: Descriptor,
  artifactType: string,
  { label, extra = {} }: { readonly label: string; readonly extra?: object | 'none' },
): Promise<{ descriptor: Descriptor; bytes: Uint8Array }> {
  const config = new TextEncoder().encode('{}');
  const empty = { mediaType: OCI.empty, digest: digestOf(config), size: config.length };
  await target.push(empty, bytesSource(config));
  const bytes = encodeJson({
    schemaVersion: 2,
    mediaType: OCI.manifest,
    artifactType,
    config: empty,
    layers: [empty],
    ...(extra === 'none' ? {} : { subject: { ...subjectOf(subject), ...extra } }),
    annotations: { label },
  });
  return { descriptor: { mediaType: OCI.manifest, digest: digestOf(bytes), size: bytes.length }, bytes };
}
