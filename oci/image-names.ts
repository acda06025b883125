/**
 * Names of images in a layout or an archive. An entry of an index is named by `org.opencontainers.image.ref.name`, a
 * tag or a whole reference (image-spec, annotations.md), and by `io.containerd.image.name`, a whole reference, which
 * containerd, nerdctl and Docker write beside it. Both find the image; where a tag alone is asked for, whole names that
 * end in it do too.
 */
import { AccelError } from '../base/error.ts';
import type { Descriptor } from './descriptor.ts';
import { assertTag, formatReference, parseReference, type RegistryReference } from './reference.ts';

/** The annotation by which an entry of an index carries a tag or a whole reference. */
export const REF_NAME = 'org.opencontainers.image.ref.name';
/** The annotation by which containerd and Docker name an image. */
export const CONTAINERD_NAME = 'io.containerd.image.name';

/** Most images that one message lists. */
const MAX_DESCRIBED = 20;

/** The name of an entry in the layout itself, if it has one: that is what tagging replaces. */
export function refNameOf(entry: Descriptor): string | undefined {
  return entry.annotations?.[REF_NAME];
}

/** Names of an entry, the shorter one first. */
export function namesOf({ annotations }: Descriptor): readonly string[] {
  const names = [annotations?.[REF_NAME], annotations?.[CONTAINERD_NAME]].filter((name) => name !== undefined);
  return [...new Set(names)];
}

/**
 * Entries that match a name, best matches only: by the exact name, by the same whole reference, or by the tag alone.
 */
export function entriesNamed(entries: readonly Descriptor[], name: string): readonly Descriptor[] {
  const exact = entries.filter((entry) => refNameOf(entry) === name);
  if (exact.length > 0) return exact;
  const whole = wholeName(name);
  const same = entries.filter((entry) => namesOf(entry).some((one) => one === name || isSameName(one, whole)));
  if (same.length > 0 || isWholeName(name)) return same;
  return entries.filter((entry) => namesOf(entry).some((one) => isWholeName(one) && tagPart(one) === name));
}

/** Names that identify each image of an index, sorted by code unit: the tag if no other image has it. */
export function imageNames(entries: readonly Descriptor[]): readonly string[] {
  const names = entries.flatMap((entry) => {
    const [short, ...longer] = namesOf(entry);
    if (short === undefined) return [];
    const isShared = entries.some((other) => refNameOf(other) === short && other.digest !== entry.digest);
    return isShared && longer.length > 0 ? longer : [short];
  });
  return [...new Set(names)].sort();
}

/** The entries as messages list them: their longest names in order, and digests where names are not unique. */
export function describeEntries(entries: readonly Descriptor[], withDigests = false): string {
  const shown = entries.map((entry) => {
    const name = namesOf(entry).at(-1);
    if (name === undefined) return entry.digest;
    return withDigests ? `${name} (${entry.digest})` : name;
  });
  const different = [...new Set(shown)].sort();
  const more = different.length - MAX_DESCRIBED;
  return `${different.slice(0, MAX_DESCRIBED).join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
}

/** True for a name with a repository in it, such as `registry.example.org/team/app:1.2` or `app:1.2`. */
export function isWholeName(name: string): boolean {
  return /[:/@]/.test(name);
}

/** The tag in a name: the name itself, or what follows the repository; undefined for a repository without a tag. */
export function tagPart(name: string): string | undefined {
  return isWholeName(name) ? registryName(name)?.tag : name;
}

/** Returns `name` if an image on disk can have it: a tag, or a whole reference with one. Throws `reference-invalid`. */
export function assertImageName(name: string): string {
  if (!isWholeName(name)) return assertTag(name);
  const tag = tagPart(name);
  if (tag !== undefined) {
    assertTag(tag);
    return name;
  }
  throw new AccelError('reference-invalid', 'this names no image of a layout or an archive', {
    expected: 'a tag, or a whole reference with a tag, such as registry.example.org/team/app:1.2',
    found: JSON.stringify(name.slice(0, 300)).slice(1, -1),
  });
}

/** A whole reference in the form that makes Docker Hub's short ones equal to it. */
function wholeName(name: string): string | undefined {
  if (!isWholeName(name)) return undefined;
  const reference = registryName(name);
  return reference === undefined ? name : formatReference(reference);
}

function isSameName(name: string, whole: string | undefined): boolean {
  return whole !== undefined && wholeName(name) === whole;
}

function registryName(name: string): RegistryReference | undefined {
  try {
    const reference = parseReference(name);
    return reference.kind === 'registry' ? reference : undefined;
  } catch (error) {
    // Any other text of an annotation is a name only as it is.
    if (error instanceof AccelError) return undefined;
    throw error;
  }
}
