/**
 * Refuses documents that two readers may take for two images (CVE-2021-41190): a list of manifests that is an image as
 * well, a media type that contradicts the content, and a field that is spelled in two cases, of which Go's JSON reader
 * takes the last.
 */
import { AccelError, type ErrorPlace } from '../base/error.ts';
import { bareMediaType, isIndex, isManifest } from './media-types.ts';

/** The fields that decide what a document is, by their lower-case form. */
const DECISIVE = new Map(
  ['schemaVersion', 'mediaType', 'config', 'layers', 'manifests'].map((name) => [name.toLowerCase(), name]),
);

/**
 * Throws `manifest-invalid` unless the document is an index or an image and nothing else, by its fields, by its own
 * media type and by `declared`, the one that its descriptor or the registry names.
 */
export function refuseAmbiguous(value: Readonly<Record<string, unknown>>, declared: string, where: ErrorPlace): void {
  for (const field of Object.keys(value)) {
    const name = DECISIVE.get(field.toLowerCase());
    if (name === undefined || name === field) continue;
    throw ambiguous('a field of the document is written in another case', where, name, field);
  }
  const image = ['config', 'layers'].filter((field) => isPresent(value[field]));
  const hasManifests = isPresent(value.manifests);
  if (hasManifests && image.length > 0) {
    const found = ['manifests', ...image].join(', ');
    throw ambiguous('the document is an index and an image at once', where, 'manifests, or config and layers', found);
  }
  for (const type of [value.mediaType, declared]) {
    if (typeof type !== 'string') continue;
    const bare = bareMediaType(type);
    const isWrong = hasManifests ? isManifest(bare) : isIndex(bare) && image.length > 0;
    if (!isWrong) continue;
    const expected = `the media type of ${hasManifests ? 'an index, since it lists manifests' : 'an image, since it lists layers'}`;
    throw ambiguous('the media type of the document contradicts its content', where, expected, type);
  }
}

/** Null means absent to the Go tools that write most manifests. */
function isPresent(field: unknown): boolean {
  return field !== undefined && field !== null;
}

function ambiguous(message: string, where: ErrorPlace, expected: string, found: string): AccelError {
  return new AccelError('manifest-invalid', message, {
    where,
    expected,
    found,
    hint: 'Other tools may read another image out of this document (CVE-2021-41190): build and push it again.',
  });
}
