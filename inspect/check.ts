/**
 * Whether all that an accelerated image needs is there, and whether it will stay: an index-only image reads the layers of
 * its base, which a registry deletes once nothing names the base any more.
 */
import type { Descriptor } from '../oci/descriptor.ts';
import { isDigestLike } from '../oci/digest.ts';
import { loadManifest, unlessMissing } from '../oci/document.ts';
import { isNonDistributableLayer } from '../oci/media-types.ts';
import { canListImages } from '../oci/powers.ts';
import type { ReadOptions, Target } from '../oci/storage.ts';
import type { CheckFinding, ImageFacts, InspectReport } from './facts.ts';

/** Looks for what is missing, now (`broken`) or after the next garbage collection (`will-break`). */
export async function checkReport(
  target: Target,
  report: InspectReport,
  options: ReadOptions,
): Promise<readonly CheckFinding[]> {
  const findings: CheckFinding[] = report.others
    .filter(({ missing }) => missing === true && report.accelerated)
    .map(({ platform, digest }) => ({ severity: 'broken', platform, what: `its manifest ${digest} is gone` }));
  for (const image of report.images) findings.push(...(await checkImage(target, image, options)));
  const needsBase = report.images.some((image) => image.accelerated && image.mode !== 'full');
  if (needsBase) findings.push(...(await checkBase(target, report, options)));
  return findings;
}

async function checkImage(target: Target, image: ImageFacts, options: ReadOptions): Promise<CheckFinding[]> {
  const { platform } = image;
  const broken = (what: string): CheckFinding => ({ severity: 'broken', platform, what });
  const manifest = await unlessMissing(() =>
    target.resolve(image.digest, options).then((named) => loadManifest(target, named, options)),
  );
  if (manifest === undefined) return [broken(`its manifest ${image.digest} is gone`)];
  const { config, layers } = manifest;
  const findings: CheckFinding[] = [];
  const look = async (blob: Descriptor, what: string): Promise<void> => {
    if (!(await target.exists(blob, options))) findings.push(broken(`${what}, ${blob.digest}, is gone`));
  };
  await look(config, 'its config');
  for (const [i, layer] of layers.entries()) {
    if (!isNonDistributableLayer(layer.mediaType)) await look(layer, `layer ${i + 1} of ${layers.length}`);
  }
  if (!image.accelerated) return findings;
  for (const [i, { source }] of image.layers.entries()) {
    if (source?.present === false) {
      findings.push(broken(`the layer of the base under layer ${i + 1}, ${source.digest}, is gone`));
    }
  }
  if (findings.length === 0 && image.problem !== undefined) findings.push(broken(image.problem));
  if (image.mode !== 'full' && image.base?.present === false) {
    findings.push({ severity: 'will-break', platform, what: `its base ${image.base.digest} is gone` });
  }
  return findings;
}

/** The base as a whole: its index or manifest, and what names it. */
async function checkBase(
  target: Target,
  { sourceDigest, baseTag, images }: InspectReport,
  options: ReadOptions,
): Promise<CheckFinding[]> {
  if (sourceDigest === undefined) return [];
  const gone = (what: string): CheckFinding[] => [{ severity: 'will-break', what }];
  const isKnown = images.some((image) => image.accelerated && image.base?.digest === sourceDigest);
  const found = await unlessMissing(() => target.resolve(sourceDigest, options));
  if (found === undefined) return isKnown ? [] : gone(`the index of its base, ${sourceDigest}, is gone`);
  if (canListImages(target)) {
    const isListed = (await target.images(options)).some(({ digest }) => digest === sourceDigest);
    return isListed ? [] : gone(`nothing names its base ${sourceDigest} any more`);
  }
  if (baseTag === undefined || baseTag.matches || isDigestLike(baseTag.tag)) return [];
  const now = baseTag.digest === undefined ? 'does not exist any more' : `names ${baseTag.digest} by now`;
  return gone(`the tag ${baseTag.tag} ${now}, and nothing else is known to name its base ${sourceDigest}`);
}
