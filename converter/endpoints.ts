/** Opens the repositories that a conversion reads from and writes to. */
import { advise, option } from '../base/advice.ts';
import { AccelError, asAccelError, withPlace } from '../base/error.ts';
import { awaitAll } from '../base/limiter.ts';
import { MemoryTarget } from '../oci/memory-target.ts';
import { type OpenOptions, openTarget } from '../oci/open.ts';
import { formatReference, parseRepository, type Reference } from '../oci/reference.ts';
import type { Target } from '../oci/storage.ts';
import type { ConvertContext, ConvertRequest } from './options.ts';

/** The open repositories of a conversion. */
export interface Endpoints {
  /** The repository of the source image. */
  readonly source: Target;
  /** The repository of the results; the same object unless the request names another repository. */
  readonly target: Target;
  /** The repository from which the target's registry can mount blobs of the source; undefined where it cannot. */
  readonly mountFrom: string | undefined;
}

/** Options of `convert`: events, a signal, and how to reach registries. */
export interface ConvertSurroundings extends ConvertContext {
  readonly registry?: OpenOptions;
  /** Options of another target repository; omitted: those of the source, without its credentials for another registry. */
  readonly targetRegistry?: OpenOptions;
}

/**
 * Opens the repositories, runs `body` and closes them. A target layout that does not exist is created, unless
 * `request.noUpload` is set: then an empty target in memory takes its place.
 */
export async function withEndpoints<T>(
  request: ConvertRequest,
  context: ConvertSurroundings,
  body: (endpoints: Endpoints) => Promise<T>,
): Promise<T> {
  const from = parseRepository(request.repository);
  const to = request.targetRepository === undefined ? from : parseRepository(request.targetRepository);
  const isSame = formatReference(from) === formatReference(to);
  if (to.kind === 'archive' && to.format === 'docker' && !request.noUpload) {
    throw new AccelError('usage', 'a docker-archive is read-only', {
      found: formatReference(to),
      hint: advise`Name the destination with ${option('targetRepository')}, for example oci:DIR or oci-archive:FILE.`,
    });
  }
  const source = await openTarget(from, context.registry);
  let target = source;
  let closing: Promise<unknown> | undefined;
  const close = (): Promise<unknown> => {
    closing ??= awaitAll([target.close?.(), target === source ? undefined : source.close?.()]);
    return closing;
  };
  try {
    if (!isSame) target = await openOther(to, targetOptions(request, context), request.noUpload);
    const result = await body({ source, target, mountFrom: isSame ? undefined : repositoryToMount(from, to) });
    await close();
    return result;
  } catch (error) {
    // The first failure is reported, not one of closing.
    await close().catch(() => undefined);
    throw withPlace(context.signal?.aborted === true ? aborted(error) : error, { image: source.name });
  }
}

/**
 * The options of the target repository. The source's password is sent to the source's registry only; another registry
 * gets credentials of its own or none.
 */
export function targetOptions(
  { repository, targetRepository }: Pick<ConvertRequest, 'repository' | 'targetRepository'>,
  { registry = {}, targetRegistry }: ConvertSurroundings,
): OpenOptions {
  if (targetRepository === undefined) return registry;
  if (targetRegistry !== undefined) return targetRegistry;
  if (repositoryToMount(parseRepository(repository), parseRepository(targetRepository)) !== undefined) return registry;
  const { username: _, password: __, ...rest } = registry;
  return rest;
}

/** The repository from which the registry of `to` can mount blobs of `from`; undefined where they are apart. */
export function repositoryToMount(from: Reference, to: Reference): string | undefined {
  return from.kind === 'registry' && to.kind === 'registry' && from.registry === to.registry
    ? from.repository
    : undefined;
}

async function openOther(to: Reference, options: OpenOptions, isDry: boolean): Promise<Target> {
  try {
    return await openTarget(to, { ...options, create: !isDry });
  } catch (error) {
    if (!isDry || asAccelError(error).code !== 'not-found') throw error;
    return new MemoryTarget(formatReference(to));
  }
}

/** After the caller's abort any failure is reported as `aborted`: the abort is the reason, not what broke first. */
function aborted(error: unknown): AccelError {
  const known = asAccelError(error);
  return known.code === 'aborted' ? known : new AccelError('aborted', 'interrupted', { cause: known });
}
