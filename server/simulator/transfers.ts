/**
 * Requests and the bytes that answer them. A piece travels in segments, few of which are on the way at once, so that
 * transfers share a link about evenly; links serve segments in the order in which they are given.
 */
import type { Refusal } from '../agent/peers/topology.ts';
import { AGENT } from './scenario.ts';
import { type SimEvent, type SimNode, serve, type Transfer, type World } from './world.ts';

const SEGMENTS = 4;
const SEGMENTS_ON_THE_WAY = 2;

/** A request to a source. */
type Request = Pick<Transfer, 'piece' | 'asOwner' | 'insists'>;

/** Sends a request for a piece. */
export function request(world: World, target: SimNode, source: SimNode, ask: Request): Transfer {
  const transfer = newTransfer(target, source, ask);
  world.counts.requests++;
  let delay = world.latencyTo(source);
  if (!target.known.has(source.number)) {
    // The first request opens a connection: a round trip for TCP and one for TLS come before it.
    delay *= 5;
    target.known.add(source.number);
    source.known.add(target.number);
  }
  world.at(world.now + delay, { type: 'request', transfer });
  return transfer;
}

/** Answers that the piece cannot be had here. A peer that is dead is noticed by a deadline, `after` seconds from now. */
export function refuse(world: World, transfer: Transfer, refusal: Refusal, after?: number): void {
  end(world, transfer);
  transfer.refusal = refusal;
  world.at(world.now + (after ?? world.latencyTo(transfer.source)), { type: 'refused', transfer });
}

/** Starts to send the piece, or queues it where all slots are taken. */
export function deliver(world: World, transfer: Transfer): void {
  const { source } = transfer;
  if (source !== world.registry && source.slots >= AGENT.slots) {
    source.queue.push(transfer);
    return;
  }
  source.slots++;
  transfer.active = true;
  pump(world, transfer);
}

/** Keeps segments on the way. */
function pump(world: World, transfer: Transfer): void {
  const { source, target } = transfer;
  const bytes = world.bytesOf(transfer.piece) / SEGMENTS;
  while (transfer.sent < SEGMENTS && transfer.onTheWay < SEGMENTS_ON_THE_WAY) {
    const sent = Math.max(serve(source.up, world.now, bytes), serve(source.processor, world.now, bytes));
    transfer.sent++;
    transfer.onTheWay++;
    source.uploaded += bytes;
    if (source === world.registry) world.counts.originBytes += bytes;
    else if (source.zone !== target.zone) world.counts.crossZoneBytes += bytes;
    world.at(sent, transfer.sentEvent);
  }
}

/** A segment has left the source: it takes its turn on the target's link. */
export function onSent(world: World, transfer: Transfer): void {
  if (transfer.ended) return;
  const { source, target } = transfer;
  const bytes = world.bytesOf(transfer.piece) / SEGMENTS;
  const received = Math.max(serve(target.down, world.now, bytes), serve(target.processor, world.now, bytes));
  world.at(received + world.latencyTo(source), transfer.arrivedEvent);
}

/** A segment has arrived; after the last, the piece is hashed. */
export function onArrived(world: World, transfer: Transfer): void {
  if (transfer.ended) return;
  const { target, piece } = transfer;
  if (target.dead) {
    end(world, transfer);
    return;
  }
  transfer.received++;
  transfer.onTheWay--;
  if (transfer.received < SEGMENTS) {
    pump(world, transfer);
    return;
  }
  end(world, transfer);
  world.at(serve(target.hashing, world.now, world.bytesOf(piece)), { type: 'ready', node: target, piece });
}

/** Ends a transfer and gives its slot to the next in the queue. */
function end(world: World, transfer: Transfer): void {
  const { source } = transfer;
  transfer.ended = true;
  source.serving.delete(transfer);
  if (!transfer.active) return;
  source.slots--;
  while (source.queue.length > 0 && source.slots < AGENT.slots) {
    const next = source.queue.shift()!;
    if (next.ended) continue;
    if (next.target.dead) end(world, next);
    else deliver(world, next);
  }
}

function newTransfer(target: SimNode, source: SimNode, { piece, asOwner, insists }: Request): Transfer {
  const transfer = {
    source,
    target,
    piece,
    asOwner,
    insists,
    refusal: 'absent' as Refusal,
    sent: 0,
    onTheWay: 0,
    received: 0,
    active: false,
    ended: false,
    sentEvent: undefined as unknown as SimEvent,
    arrivedEvent: undefined as unknown as SimEvent,
  };
  // Two objects for all segments: most of the events of a run are these.
  transfer.sentEvent = { type: 'sent', transfer };
  transfer.arrivedEvent = { type: 'arrived', transfer };
  return transfer;
}
