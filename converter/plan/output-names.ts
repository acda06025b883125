/** Checks the names of the results before any work, and fits them to the target. */
import { advise, option } from '../../base/advice.ts';
import { AccelError } from '../../base/error.ts';
import { assertImageName, isWholeName, tagPart } from '../../oci/image-names.ts';
import { assertTag, parseRepository, type Reference } from '../../oci/reference.ts';
import type { ConvertRequest } from '../options.ts';

/**
 * Returns the request with names that its target accepts: an image of a layout may have a full reference as its name, and so
 * may results in a layout that are named after it; in a registry only the tag of that reference is used. Throws `usage` for a
 * request without a source or with two results of one name, `reference-invalid` or `tag-too-long` for an invalid name.
 */
export function fitOutputNames(request: ConvertRequest): ConvertRequest {
  const { source, outputs, repository, targetRepository } = request;
  if (outputs.length === 0) {
    const hint = advise`Name one with ${option('outputTag', 'TAG')}.`;
    throw new AccelError('usage', 'no output tag was given', { hint });
  }
  if (source.tag === undefined && source.digest === undefined) {
    throw new AccelError('usage', 'no source was given', { expected: 'a tag or a digest' });
  }
  const target = parseRepository(targetRepository ?? repository);
  const seen = new Set<string>();
  const fitted = outputs.map((output) => {
    const tag = nameFor(output.tag, source.tag, target);
    if (seen.has(tag)) throw new AccelError('usage', 'one tag was given for two outputs', { found: tag });
    seen.add(tag);
    return { ...output, tag };
  });
  return { ...request, outputs: fitted };
}

function nameFor(tag: string, source: string | undefined, target: Reference): string {
  if (target.kind !== 'registry') return assertImageName(tag);
  if (source === undefined || !isWholeName(source) || !tag.startsWith(source)) return assertTag(tag);
  return assertTag((tagPart(source) ?? '') + tag.slice(source.length));
}
