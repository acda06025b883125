/** Gets pieces: asks the nodes that the topology's functions name, and the next one after a refusal. */
import { nextAttempt, ownerSources, sources } from '../agent/peers/topology.ts';
import { AGENT } from './scenario.ts';
import { request } from './transfers.ts';
import type { Fetch, SimNode, Transfer, World } from './world.ts';

/** Begins to get a piece as a member of the swarm. Without a list of members yet, the fetch waits for one. */
export function startFetch(world: World, node: SimNode, piece: number): void {
  const fetch: Fetch = { piece, asOwner: false, sources: [], refusals: [], transfer: undefined };
  node.fetches.set(piece, fetch);
  begin(world, node, fetch);
}

/** Begins the fetches that waited for a list of members. */
export function resumeFetches(world: World, node: SimNode, layer: number): void {
  for (const fetch of node.fetches.values()) {
    if (fetch.transfer === undefined && world.layerOf[fetch.piece] === layer) begin(world, node, fetch);
  }
}

/**
 * Gets a piece that another node asks of this one as an owner: from better owners or the origin, never along the tree.
 * False when this node is no owner by its own view.
 */
export function fetchAsOwner(world: World, node: SimNode, piece: number): boolean {
  const suspected = (other: SimNode): boolean => world.suspects(node, other);
  const better = ownerSources({ self: node, owners: world.ownersFor(node, piece), suspected });
  if (better === undefined) return false;
  const known = node.fetches.get(piece);
  // One request as an owner at a time; one that waits on the tree goes on beside it, and its bytes are used if they come first.
  if (known?.asOwner === true) return true;
  const fetch: Fetch = {
    piece,
    asOwner: true,
    sources: better.map((peer) => ({ peer, role: 'owner' })),
    refusals: [],
    transfer: undefined,
  };
  node.fetches.set(piece, fetch);
  askNext(world, node, fetch);
  return true;
}

/** A refusal: the next one is asked. A peer that did not answer at all is suspected. */
export function onRefused(world: World, transfer: Transfer): void {
  const { target, source, piece, refusal } = transfer;
  if (target.dead) return;
  world.counts.refused++;
  if (refusal === 'silent') target.suspects.set(source.number, world.now + AGENT.suspicion);
  const fetch = target.fetches.get(piece);
  if (fetch?.transfer !== transfer) return;
  fetch.refusals.push(refusal);
  askNext(world, target, fetch);
}

function begin(world: World, node: SimNode, fetch: Fetch): void {
  const layer = world.layerOf[fetch.piece]!;
  const swarm = node.swarms[layer];
  const suspected = (other: SimNode): boolean => world.suspects(node, other);
  const owners = world.ownersFor(node, fetch.piece);
  if (swarm === undefined || swarm === 'joining') return;
  const index = fetch.piece - world.firstPiece[layer]!;
  fetch.sources = sources({ self: node, owners, swarm, suspected }, world.blobs[layer]!, index);
  // Without anyone to ask, the node is the piece's owner.
  if (fetch.sources.length === 0) fetch.asOwner = true;
  askNext(world, node, fetch);
}

function askNext(world: World, node: SimNode, fetch: Fetch): void {
  const { piece } = fetch;
  for (;;) {
    const next = nextAttempt(fetch.sources, fetch.refusals);
    if (next === undefined) break;
    if (world.suspects(node, next.peer)) {
      fetch.refusals.push('silent');
      continue;
    }
    const asOwner = next.role === 'owner';
    fetch.transfer = request(world, node, next.peer, { piece, asOwner, insists: next.insists });
    return;
  }
  fetch.asOwner = true;
  fetch.transfer = request(world, node, world.registry, { piece, asOwner: true, insists: false });
}
