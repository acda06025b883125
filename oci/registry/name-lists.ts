/** The lists of names of a registry: tags of a repository (distribution-spec v1.1, "Listing Tags"), and the catalogue of repositories. */
import { AccelError } from '../../base/error.ts';
import { isRecord } from '../../base/is-record.ts';
import type { ReadOptions } from '../storage.ts';
import { Connection, type Exchange } from './connection.ts';
import { nextPage } from './next-page.ts';
import type { RegistryOptions } from './registry-options.ts';

/** Names that are asked for a page; registries may give fewer. */
const PAGE = 1000;
/** Most names of a list. */
const MAX_NAMES = 1_000_000;
const MAX_PAGES = 2000;
/** Bytes of the longest page. */
const MAX_PAGE_BYTES = 4 * 1024 * 1024;
/** The scope that token servers want for the catalogue. */
const CATALOG_SCOPE = 'registry:catalog:*';
/** Statuses by which registries without a catalogue answer. */
const NO_CATALOG: readonly number[] = [400, 401, 403, 404, 405, 501];

/** All tags of the connection's repository, sorted by code unit; none for a repository that does not exist. */
export async function listTags(connection: Connection, options?: ReadOptions): Promise<readonly string[]> {
  const names = await listNames(connection, 'tags', {
    action: 'list tags',
    method: 'GET',
    to: `tags/list?n=${PAGE}`,
    expect: [200, 404],
    signal: options?.signal,
  });
  return names ?? [];
}

/**
 * All repositories of a registry, sorted; undefined where it does not list them, or not to this user: most hosted registries do not.
 * `registry` is `host[:port]`.
 */
export async function listRepositories(
  registry: string,
  options: RegistryOptions & ReadOptions = {},
): Promise<readonly string[] | undefined> {
  const connection = await Connection.open(registry, undefined, options);
  try {
    return await listNames(connection, 'repositories', {
      action: 'list repositories',
      method: 'GET',
      to: `/v2/_catalog?n=${PAGE}`,
      expect: [200, ...NO_CATALOG],
      scopes: [CATALOG_SCOPE],
      signal: options.signal,
    });
  } finally {
    await connection.close();
  }
}

/** Reads all pages; undefined where the first one is not there. */
async function listNames(
  connection: Connection,
  field: 'tags' | 'repositories',
  first: Exchange,
): Promise<readonly string[] | undefined> {
  const names = new Set<string>();
  let exchange = first;
  for (let page = 0; page < MAX_PAGES; page += 1) {
    const response = await connection.exchange(exchange);
    if (response.status !== 200) {
      await response.discard();
      if (page === 0) return undefined;
      throw broken(first.action, `HTTP ${response.status} for page ${page + 1}`);
    }
    for (const name of namesOf(await response.text(MAX_PAGE_BYTES), field, first.action)) names.add(name);
    if (names.size > MAX_NAMES) {
      throw new AccelError('limit-exceeded', 'the registry lists too many names', {
        expected: `at most ${MAX_NAMES}`,
        found: names.size,
      });
    }
    const next = nextPage(response);
    if (next === undefined) return [...names].sort();
    exchange = { ...exchange, to: next };
  }
  throw broken(first.action, `more than ${MAX_PAGES} pages`);
}

/** The names of a page. Registries written in Go give null for an empty list. */
function namesOf(text: string, field: string, action: string): readonly string[] {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (cause) {
    throw broken(action, (cause as Error).message);
  }
  const list = isRecord(document) ? (document[field] ?? []) : undefined;
  if (!Array.isArray(list)) throw broken(action, `no list of ${field}`);
  return list.filter((name): name is string => typeof name === 'string');
}

function broken(action: string, found: string): AccelError {
  return new AccelError('registry-error', `the registry failed to ${action}`, { expected: 'a list of names', found });
}
