/** From the flags to the images of a run: those of a list, those that patterns find, or those that rules cover. */

import type { Command } from 'commander';
import { AccelError, withPlace } from '../../base/error.ts';
import type { ConvertRequest, PrefetchRequest } from '../../converter/options.ts';
import { formatReference, parseRepository } from '../../oci/reference.ts';
import { questionOf } from '../../triggers/decide-conversion.ts';
import { distinctOrders } from '../../triggers/many/check-orders.ts';
import { type FoundImage, type FoundImages, findImages } from '../../triggers/many/find-images.ts';
import { failedBefore, type ImageOrder, type ImageOutcome } from '../../triggers/many/image-orders.ts';
import type { TargetPool } from '../../triggers/many/target-pool.ts';
import { compileRules, type RuleSet } from '../../triggers/rules/match-rule.ts';
import { ruleRequest } from '../../triggers/rules/rule-request.ts';
import type { ConvertFlags } from '../commands/convert-flags.ts';
import { namedImage } from '../commands/convert-reference.ts';
import { convertRequest } from '../commands/convert-request.ts';
import type { CommandContext } from '../context.ts';
import { prefetchRequest, readBytes } from '../prefetch-flags.ts';
import { reuseRequest } from '../reuse-flags.ts';
import { type ListedLine, parseImageList } from './image-list.ts';
import type { ManyFlags } from './many-flags.ts';
import { loadRuleFile } from './rule-file.ts';

/** The images of a run, and what failed already when they were looked for. */
export interface Gathered {
  readonly orders: readonly ImageOrder[];
  readonly failed: readonly ImageOutcome[];
}

/** Surroundings of {@link gatherOrders}. */
export interface Gathering {
  readonly flags: ConvertFlags & ManyFlags;
  /** `accel convert`, whose options a line may have. */
  readonly command: Command;
  readonly context: CommandContext;
  readonly pool: TargetPool;
}

/** Gathers the images. Throws `usage` for a mistake, `not-found` where no image matches. */
export async function gatherOrders(gathering: Gathering): Promise<Gathered> {
  const { flags } = gathering;
  const gathered =
    flags.from !== undefined
      ? await listedOrders(gathering)
      : flags.rules !== undefined
        ? await ruleOrders(gathering)
        : await patternOrders(gathering);
  return { ...gathered, orders: distinctOrders(gathered.orders) };
}

async function listedOrders({ flags, command, context }: Gathering): Promise<Gathered> {
  const lines: ListedLine[] = [];
  for (const file of flags.from ?? []) {
    const text = Buffer.from(await readBytes(file, context.stdin)).toString('utf8');
    // One by one: a call with 200,000 arguments would overflow the stack.
    for (const line of parseImageList(text, file === '-' ? 'standard input' : file, command)) lines.push(line);
  }
  if (lines.length === 0) {
    throw new AccelError('usage', 'the list names no image', {
      where: { file: flags.from!.join(', ') },
      expected: 'a reference on each line, such as registry.example.com/team/app:1.2',
      found: 'blank lines and comments alone',
    });
  }
  const reuse = await reuseRequest(flags);
  const prefetch = new PrefetchFiles(context);
  const orders: ImageOrder[] = [];
  for (const line of lines) {
    try {
      orders.push(await listedOrder(line, flags, { reuse, prefetch }));
    } catch (error) {
      const { place } = line;
      const colon = place.lastIndexOf(':');
      throw withPlace(error, { file: place.slice(0, colon), line: Number(place.slice(colon + 1)) });
    }
  }
  return { orders, failed: [] };
}

async function listedOrder(
  line: ListedLine,
  flags: ConvertFlags,
  { reuse, prefetch }: { readonly reuse: Partial<ConvertRequest>; readonly prefetch: PrefetchFiles },
): Promise<ImageOrder> {
  const merged: ConvertFlags = { ...flags, ...line.flags };
  const named = await namedImage(line.reference, merged);
  const request = { ...convertRequest({ ...merged, ...named }, await prefetch.request(merged)), ...reuse };
  return { reference: nameOf(request), request, verify: 'off', found: false, places: [line.place] };
}

/** The prefetch lists of a run: lines often name the same file. */
class PrefetchFiles {
  readonly #context: CommandContext;
  readonly #known = new Map<string, Promise<PrefetchRequest | undefined>>();

  constructor(context: CommandContext) {
    this.#context = context;
  }

  request(flags: ConvertFlags): Promise<PrefetchRequest | undefined> {
    const { prefetch, prefetchPath, prefetchFormat, prefetchStrict } = flags;
    const key = JSON.stringify([prefetch, prefetchPath, prefetchFormat, prefetchStrict]);
    const found = this.#known.get(key) ?? prefetchRequest(flags, this.#context.stdin);
    this.#known.set(key, found);
    return found;
  }
}

async function patternOrders({ flags, context, pool }: Gathering): Promise<Gathered> {
  const { tags, exclude, repository, repositoryPattern, excludeRepository } = flags;
  const rules = compileRules([
    {
      repositories: repositoryPattern ?? ['**'],
      ...(excludeRepository === undefined ? {} : { excludeRepositories: excludeRepository }),
      ...(tags === undefined ? {} : { includeTags: tags }),
      ...(exclude === undefined ? {} : { excludeTags: exclude }),
      mode: flags.mode ?? 'full',
      platforms: flags.platform,
      verify: 'off',
    },
  ]);
  const given = repository === undefined ? undefined : [formatReference(parseRepository(repository))];
  const reuse = await reuseRequest(flags);
  const prefetch = await prefetchRequest(flags, context.stdin);
  const look = { pool, ...(given === undefined ? {} : { repositories: given }) };
  const found = await findImages(rules, look, context.signal);
  return foundOrders(found, (image) => ({
    ...convertRequest({ ...flags, repository: image.repository, inputTag: image.tag }, prefetch),
    ...reuse,
  }));
}

async function ruleOrders({ flags, context, pool }: Gathering): Promise<Gathered> {
  const rules: RuleSet = await loadRuleFile(flags.rules!, context.stdin);
  const more = {
    concurrency: flags.concurrencyLimit,
    workers: flags.workers,
    maxMemory: flags.maxMemory,
    cache: flags.cache,
    force: flags.force === true,
    ...(flags.copyReferrers === true ? { copyReferrers: true } : {}),
    ...(flags.pieceList ? {} : { pieceList: false }),
    ...(flags.prefetch === false ? { noPrefetch: true } : {}),
    ...(flags.dir === undefined ? {} : { workDirectory: flags.dir }),
    ...(await reuseRequest(flags)),
  };
  const found = await findImages(rules, { pool }, context.signal);
  return foundOrders(found, ({ repository, tag, rule }) => ruleRequest(rule.options, { repository, tag }, more));
}

/** The orders for what patterns found. Throws `not-found` where nothing was, with what was looked at. */
function foundOrders(
  { images, repositories, unread, failed }: FoundImages,
  requestOf: (image: FoundImage) => ConvertRequest,
): Gathered {
  const outcomes = [
    ...unread.map(({ host, error = noCatalogue(host) }) => failedBefore({ reference: host, places: [] }, error)),
    ...failed.map(({ repository, error }) => failedBefore({ reference: repository, places: [] }, error)),
  ];
  const orders = images.map(
    ({ repository, tag, rule }): ImageOrder => ({
      reference: `${repository}:${tag}`,
      places: [],
      found: true,
      verify: rule.options.verify,
      ...questionOf(tag, (named) => requestOf({ repository, tag: named, rule })),
    }),
  );
  if (orders.length > 0) return { orders, failed: outcomes };
  const [first] = outcomes;
  if (first?.error !== undefined) throw withPlace(first.error, { image: first.order.reference });
  throw new AccelError('not-found', 'no image matches', {
    where: { repositories: repositories.slice(0, 5).join(', ') || 'none' },
    expected: 'at least one tag that the patterns cover',
    found: `none in ${repositories.length} repositories`,
    hint: 'Quote patterns, so that the shell leaves them alone. * does not match a /; ** does.',
  });
}

function noCatalogue(host: string): AccelError {
  return new AccelError(
    'registry-error',
    `${host} has no catalogue of its repositories, or does not show it to this user`,
    {
      where: { registry: host },
      expected: 'the list /v2/_catalog: docker-registry, Harbor, Artifactory, Nexus, Gitea, zot and Azure have it',
      found: 'none: Docker Hub, ghcr.io, GitLab.com, quay.io and most hosted registries have none',
      hint: "Name its repositories: -r HOST/NAME --tags '*' for one, a list with --from FILE, or rules without wildcards.",
    },
  );
}

function nameOf({ repository, source: { tag, digest } }: ConvertRequest): string {
  const name = formatReference(parseRepository(repository));
  return `${name}${tag === undefined || digest !== undefined ? '' : `:${tag}`}${digest === undefined ? '' : `@${digest}`}`;
}
