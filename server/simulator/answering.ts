/** Answers requests for pieces, and lets nodes die. */
import { fetchAsOwner, startFetch } from './fetching.ts';
import { AGENT } from './scenario.ts';
import { deliver, refuse } from './transfers.ts';
import type { SimNode, Transfer, World } from './world.ts';

/** A request arrives. */
export function onRequest(world: World, transfer: Transfer): void {
  const { source, target, piece, asOwner } = transfer;
  if (target.dead) return;
  if (source === world.registry) {
    deliver(world, transfer);
    return;
  }
  if (source.dead) {
    refuse(world, transfer, 'silent', AGENT.connect);
    return;
  }
  if (!world.has(source, piece) && !getForOther(world, transfer)) {
    refuse(world, transfer, 'absent');
    return;
  }
  if (!asOwner && !transfer.insists && source.up.free - world.now > AGENT.busy) {
    refuse(world, transfer, { busyFor: (source.up.free - world.now) * 1000 });
    return;
  }
  source.serving.add(transfer);
  if (world.has(source, piece)) {
    deliver(world, transfer);
    return;
  }
  const waiting = source.waiting.get(piece);
  if (waiting === undefined) source.waiting.set(piece, [transfer]);
  else waiting.push(transfer);
}

/** Makes sure that a node that lacks a piece gets it; false when it has no business with it. */
function getForOther(world: World, { source, piece, asOwner }: Transfer): boolean {
  if (asOwner) return fetchAsOwner(world, source, piece);
  if (source.fetches.has(piece)) return true;
  if (source.swarms[world.layerOf[piece]!] === undefined) return false;
  startFetch(world, source, piece);
  return true;
}

/** A piece is complete: whoever waited for it gets it. */
export function wakeWaiting(world: World, node: SimNode, piece: number): void {
  const waiting = node.waiting.get(piece);
  if (waiting === undefined) return;
  node.waiting.delete(piece);
  for (const transfer of waiting) if (!transfer.ended && !transfer.target.dead) deliver(world, transfer);
}

/** A node falls silent; those it was sending to find out by a deadline. */
export function onDeath(world: World, node: SimNode): void {
  node.dead = true;
  for (const transfer of [...node.serving]) refuse(world, transfer, 'silent', AGENT.silence);
  node.queue.length = 0;
  node.waiting.clear();
}
