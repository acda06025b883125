/**
 * The time at which an image was built. accel writes no clock into an artifact, so the only times that an accelerated image has are those
 * of its base: `created` of the config, or the annotation `org.opencontainers.image.created` (image-spec, annotations.md).
 */
import { loadImageConfig, loadManifest, unlessMissing } from '../../oci/document.ts';
import type { ImageDocument } from '../../oci/manifest.ts';
import type { ReadOptions, Target } from '../../oci/storage.ts';

const CREATED = 'org.opencontainers.image.created';
/**
 * Before Docker's first release nobody built an image: reproducible builds have 1970 (ko, Nix) or 1980 (buildpacks) in place of a time.
 */
const FIRST_IMAGE = Date.UTC(2013, 2, 1);

/**
 * Milliseconds since the epoch at which the youngest image of a document was built; undefined where one of them does not say, or gives
 * a time that cannot be one. Throws what reading throws.
 */
export async function builtOf(
  target: Target,
  document: ImageDocument,
  options: ReadOptions,
): Promise<number | undefined> {
  if (document.kind === 'manifest') return builtOfManifest(target, document.manifest, options);
  const times: number[] = [];
  for (const child of document.index.manifests) {
    const manifest = await unlessMissing(() => loadManifest(target, child, options));
    const time = manifest === undefined ? undefined : await builtOfManifest(target, manifest, options);
    if (time === undefined) return timeOf(document.index.annotations?.[CREATED]);
    times.push(time);
  }
  return times.length === 0 ? timeOf(document.index.annotations?.[CREATED]) : Math.max(...times);
}

async function builtOfManifest(
  target: Target,
  manifest: Parameters<typeof loadImageConfig>[1] & { readonly annotations?: Readonly<Record<string, string>> },
  options: ReadOptions,
): Promise<number | undefined> {
  const config = await unlessMissing(() => loadImageConfig(target, manifest, options));
  const { created } = (config ?? {}) as { readonly created?: unknown };
  return timeOf(created) ?? timeOf(manifest.annotations?.[CREATED]);
}

function timeOf(value: unknown): number | undefined {
  const time = typeof value === 'string' ? Date.parse(value) : Number.NaN;
  return time >= FIRST_IMAGE ? time : undefined;
}
