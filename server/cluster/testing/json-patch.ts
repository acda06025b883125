/** Applies the JSON patches (RFC 6902) that admission makes, as the API server does: for tests. */
import type { PatchOperation } from '../rewrite/notes.ts';

/** A copy of the document with the operations applied. Throws where a path does not exist. */
export function applyPatch<T>(document: T, patch: readonly PatchOperation[]): T {
  const copy = structuredClone(document);
  for (const operation of patch) {
    const keys = operation.path
      .slice(1)
      .split('/')
      .map((key) => key.replaceAll('~1', '/').replaceAll('~0', '~'));
    const last = keys.pop()!;
    let parent: unknown = copy;
    for (const key of keys) parent = (parent as Record<string, unknown>)[key];
    if (typeof parent !== 'object' || parent === null) throw new Error(`${operation.path} has no parent`);
    const exists = Object.hasOwn(parent, last);
    if (operation.op !== 'add' && !exists) throw new Error(`${operation.path} does not exist`);
    if (operation.op === 'remove') delete (parent as Record<string, unknown>)[last];
    else if (operation.op === 'add' && Array.isArray(parent)) parent.splice(Number(last), 0, operation.value);
    else (parent as Record<string, unknown>)[last] = operation.value;
  }
  return copy;
}
