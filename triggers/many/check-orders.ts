/** Checks the images of a run before any work: each once, and no two for one tag. */
import { AccelError } from '../../base/error.ts';
import { formatReference, parseRepository } from '../../oci/reference.ts';
import { type ImageOrder, targetOf } from './image-orders.ts';

/**
 * The orders, each image with the same outputs and options once. Throws `usage` where two make the same tag, or where
 * one makes the tag that another converts.
 */
export function distinctOrders(orders: readonly ImageOrder[]): ImageOrder[] {
  const groups = new Map<string, ImageOrder[]>();
  for (const order of orders) {
    const key = `${order.reference} ${identityOf(order)}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [order]);
    else group.push(order);
  }
  const all = [...groups.values()].map((group) => ({ ...group[0]!, places: group.flatMap(({ places }) => places) }));
  refuseConflicts(all);
  return all;
}

function identityOf({ request, verify }: ImageOrder): string {
  const { outputs, artifact, platforms, prefetch, noPrefetch, pieceList, force } = request;
  const lines = prefetch?.lines.map(String);
  return JSON.stringify([
    targetName(request.targetRepository ?? request.repository),
    ...[outputs, artifact, platforms, lines, prefetch?.format, prefetch?.strict],
    ...[noPrefetch, pieceList, force, verify],
  ]);
}

function refuseConflicts(orders: readonly ImageOrder[]): void {
  const made = new Map<string, ImageOrder>();
  const sources = new Map(orders.map((order) => [order.reference, order]));
  for (const order of orders) {
    for (const { tag } of order.request.outputs) {
      const output = `${targetName(targetOf(order))}:${tag}`;
      const other = made.get(output);
      if (other !== undefined) throw conflict('two images would get the same tag', output, [other, order]);
      made.set(output, order);
      const source = sources.get(output);
      // A default name that is in the list is an earlier result, or is skipped as one by its content.
      const isDefault = order.request.source.tag !== undefined && tag.startsWith(`${order.request.source.tag}_`);
      if (source !== undefined && !isDefault) {
        throw conflict('an image of the list would be replaced by the result of another', output, [source, order]);
      }
    }
  }
}

function conflict(message: string, output: string, orders: readonly ImageOrder[]): AccelError {
  const named = orders.map(({ reference, places }) => [reference, ...places.slice(0, 1)].join(', '));
  return new AccelError('usage', message, {
    where: { tag: output },
    expected: 'a tag for each image',
    found: named.join(' and '),
    hint: 'Nothing was done. Give one of them another tag or another target repository, or leave it out.',
  });
}

function targetName(repository: string): string {
  return formatReference(parseRepository(repository));
}
