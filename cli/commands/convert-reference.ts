/** The reference of `accel convert REF` as repository, tag and digest, which the flags give one by one. */
import { AccelError } from '../../base/error.ts';
import type { ConvertFlags } from './convert-flags.ts';

/** The flags that a reference stands for, with their names on the command line. */
const REPLACED = [
  ['repository', '-r'],
  ['inputTag', '-i'],
  ['inputDigest', '-g'],
] as const;

/** Parts of a reference, as the flags would have given them. */
export type NamedImage = Pick<ConvertFlags, (typeof REPLACED)[number][0]>;

/**
 * Takes a reference apart. Without tag and digest it means what it means to the other commands: `latest` of a
 * registry, the only image of a layout or archive. Throws `usage` beside a flag that says the same, and
 * `reference-invalid`.
 */
export async function namedImage(text: string, flags: ConvertFlags): Promise<NamedImage> {
  const given = REPLACED.filter(([name]) => flags[name] !== undefined).map(([, flag]) => flag);
  if (given.length > 0) {
    throw new AccelError('usage', `the reference does not go with ${given.join(' and ')}`, {
      expected: 'accel convert HOST/NAME:TAG, or accel convert -r HOST/NAME -i TAG',
      found: [text, ...given].join(' '),
      hint: `Leave ${given.join(' and ')} out, or the reference.`,
    });
  }
  const [{ formatReference }, { parseLocated }] = await Promise.all([
    import('../../oci/reference.ts'),
    import('../../oci/locate.ts'),
  ]);
  const parsed = await parseLocated(text);
  const named =
    parsed.tag !== undefined || parsed.digest !== undefined ? parsed : await parseLocated(await withTag(text));
  const { tag, digest, ...repository } = named;
  return {
    repository: formatReference(repository),
    ...(tag === undefined ? {} : { inputTag: tag }),
    ...(digest === undefined ? {} : { inputDigest: digest }),
  };
}

/** The reference with the tag that it means. */
async function withTag(text: string): Promise<string> {
  const { openReference } = await import('../../reader/open-reference.ts');
  const opened = await openReference(text);
  try {
    return opened.name;
  } finally {
    await opened.close();
  }
}
