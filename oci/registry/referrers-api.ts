/** The referrers API of a registry (distribution-spec v1.1, "Listing Referrers"). */
import { advise, option } from '../../base/advice.ts';
import { AccelError, asAccelError, type ErrorPlace } from '../../base/error.ts';
import { asDescriptor, type Descriptor } from '../descriptor.ts';
import { assertDigest } from '../digest.ts';
import { MAX_MANIFEST_SIZE, parseObject } from '../manifest.ts';
import { bareMediaType, OCI } from '../media-types.ts';
import type { ReadOptions } from '../storage.ts';
import type { Connection, Exchange } from './connection.ts';
import { nextPage } from './next-page.ts';

/** Most pages of one list: at the few hundred entries of a page this is far past any real image. */
const MAX_PAGES = 100;

/** Statuses by which registries without the API answer. */
const NO_API: readonly number[] = [400, 404, 405, 406, 415, 501];

/**
 * All referrers of a digest by the API; undefined where the registry does not have it. Google's Artifact Registry leads
 * to a login page instead, which is no index either.
 */
export async function listReferrers(
  connection: Connection,
  digest: string,
  artifactType: string | undefined,
  options?: ReadOptions,
): Promise<readonly Descriptor[] | undefined> {
  const query = artifactType === undefined ? '' : `?artifactType=${encodeURIComponent(artifactType)}`;
  let exchange: Exchange = {
    action: 'list referrers',
    method: 'GET',
    to: `referrers/${assertDigest(digest)}${query}`,
    expect: [200, ...NO_API],
    headers: { accept: OCI.index },
    signal: options?.signal,
    where: { digest },
  };
  const entries: Descriptor[] = [];
  for (let page = 0; page < MAX_PAGES; page += 1) {
    const response = await connection.exchange(exchange);
    if (response.status !== 200 || bareMediaType(response.header('content-type') ?? '') !== OCI.index) {
      await response.discard();
      return page === 0 ? undefined : entries;
    }
    const bytes = new TextEncoder().encode(await response.text(MAX_MANIFEST_SIZE + 1));
    entries.push(...descriptorsOf(bytes, { digest }));
    const next = nextPage(response);
    if (next === undefined) return entries;
    exchange = { ...exchange, to: next };
  }
  throw new AccelError('limit-exceeded', 'the list of referrers has too many pages', {
    where: { digest },
    expected: `at most ${MAX_PAGES} pages`,
  });
}

/**
 * The entries of a list. Anybody may put entries on it: what is no descriptor is left out, and a list that is null, as Go
 * writes an empty one, has none.
 */
function descriptorsOf(bytes: Uint8Array, where: ErrorPlace): Descriptor[] {
  const { manifests } = parseObject(bytes, MAX_MANIFEST_SIZE, where);
  if (!Array.isArray(manifests)) return [];
  return manifests.flatMap((entry, position) => {
    try {
      return [asDescriptor(entry, `manifests[${position}]`, where)];
    } catch (error) {
      if (error instanceof AccelError && error.code === 'manifest-invalid') return [];
      throw error;
    }
  });
}

/**
 * The error for a referrer that a registry refuses, which says that it is the `subject` that it does not take (Quay).
 * Other failures come back as they are.
 */
export function explainRefusal(error: unknown, name: string): unknown {
  const known = asAccelError(error);
  if (known.code !== 'registry-error' || !/^HTTP (400|405|415|422)\b/.test(String(known.found))) return error;
  return new AccelError('registry-error', 'the registry refuses manifests that refer to a subject', {
    where: { target: name, ...known.where },
    expected: 'a registry of the distribution-spec 1.1, or one that ignores subjects',
    ...(known.found === undefined ? {} : { found: known.found }),
    hint: advise`Leave ${option('referrer')} and ${option('copyReferrers')} out: the accelerated image needs only its tag.`,
    cause: known,
  });
}
