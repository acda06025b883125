/**
 * References to layouts and archives whose image has a whole name: `docker-archive:FILE:registry.example.org/app:1.2`.
 * Only the file system determines where the path ends, because paths may contain colons too.
 */
import { stat } from 'node:fs/promises';
import { assertImageName } from './image-names.ts';
import { parseReference, type Reference } from './reference.ts';

/**
 * Returns the reference with the path that exists: that of {@link parseReference}, otherwise the longest existing one
 * that ends before another colon. Throws `reference-invalid` if the rest is not the name of an image.
 */
export async function locateReference(reference: Reference): Promise<Reference> {
  if (reference.kind === 'registry') return reference;
  const { tag, digest } = reference;
  const place = reference.kind === 'layout' ? reference.directory : reference.file;
  if (await isThere(place)) return reference;
  const text = tag === undefined ? place : `${place}:${tag}`;
  for (let colon = place.lastIndexOf(':'); colon > 0; colon = place.lastIndexOf(':', colon - 1)) {
    const path = text.slice(0, colon);
    if (!(await isThere(path))) continue;
    const named = { tag: assertImageName(text.slice(colon + 1)), ...(digest === undefined ? {} : { digest }) };
    if (reference.kind === 'layout') return { kind: 'layout', directory: path, ...named };
    return { kind: 'archive', format: reference.format, file: path, ...named };
  }
  return reference;
}

/** {@link locateReference} for a reference as a user types it. */
export async function parseLocated(text: string): Promise<Reference> {
  return locateReference(parseReference(text));
}

async function isThere(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined;
}
