/** The container runtime of a node: layers in parallel, each read in order, then unpacked one after another. */
import { startFetch } from './fetching.ts';
import { AGENT } from './scenario.ts';
import { type SimNode, type Stream, serve, type World } from './world.ts';

const UNPACK_STEP = 16 * 1024 * 1024;

/** Begins a pull. */
export function onStart(world: World, node: SimNode): void {
  if (node.dead) return;
  node.started = world.now;
  const streams = Math.min(AGENT.parallelLayers, world.scenario.layers.length);
  for (let count = 0; count < streams; count++) {
    const stream: Stream = { layer: -1, position: 0, next: 0, busy: false };
    node.streams.push(stream);
    openLayer(world, node, stream);
  }
}

/** Asks for as many pieces as the limits allow, of the streams in turn. */
export function fetchMore(world: World, node: SimNode): void {
  let idle = 0;
  for (
    let at = 0;
    idle < node.streams.length && node.fetches.size < AGENT.inFlight;
    at = (at + 1) % node.streams.length
  ) {
    const stream = node.streams[at]!;
    const piece = nextPiece(world, node, stream);
    if (piece === undefined) {
      idle++;
      continue;
    }
    idle = 0;
    startFetch(world, node, piece);
  }
}

/** Hands pieces to the client as far as they are there. */
export function consume(world: World, node: SimNode, stream: Stream): void {
  while (!stream.busy && stream.layer >= 0) {
    const piece = world.firstPiece[stream.layer]! + stream.position;
    if (!world.has(node, piece)) return;
    const bytes = world.bytesOf(piece);
    const { client } = world.scenario;
    let done = serve(node.processor, world.now, bytes);
    // Once to the content store, once to the agent's cache.
    if (client !== undefined)
      done = Math.max(done, serve(node.disk, world.now, 2 * bytes) - client.dirty / client.disk);
    if (done > world.now) {
      stream.busy = true;
      world.at(done, { type: 'consumed', node, stream });
    } else advance(world, node, stream);
  }
}

/** The client has taken a piece. */
export function onConsumed(world: World, node: SimNode, stream: Stream): void {
  if (node.dead) return;
  stream.busy = false;
  advance(world, node, stream);
  consume(world, node, stream);
  fetchMore(world, node);
}

/** A part of a layer is unpacked. */
export function onUnpack(world: World, node: SimNode): void {
  const { client, layers } = world.scenario;
  if (node.dead || client === undefined) return;
  if (node.unpackedBytes >= layers[node.unpacked]!) {
    node.unpacking = false;
    node.unpacked++;
    node.unpackedBytes = 0;
    if (node.unpacked === layers.length) node.finished = world.now - node.started;
    else unpack(world, node);
    return;
  }
  const step = Math.min(UNPACK_STEP, layers[node.unpacked]! - node.unpackedBytes);
  node.unpackedBytes += step;
  const written = serve(node.disk, world.now, step * client.ratio) - client.dirty / client.disk;
  world.at(Math.max(world.now + step / client.gunzip, written), { type: 'unpack', node });
}

function nextPiece(world: World, node: SimNode, stream: Stream): number | undefined {
  const { layer } = stream;
  if (layer < 0 || node.swarms[layer] === 'joining') return undefined;
  const first = world.firstPiece[layer]!;
  const last = Math.min(world.firstPiece[layer + 1]! - first, stream.position + AGENT.readAhead);
  while (stream.next < last) {
    const piece = first + stream.next++;
    if (!world.has(node, piece) && !node.fetches.has(piece)) return piece;
  }
  return undefined;
}

function openLayer(world: World, node: SimNode, stream: Stream): void {
  const layer = node.nextLayer++;
  stream.layer = layer < world.scenario.layers.length ? layer : -1;
  stream.position = 0;
  stream.next = 0;
  if (stream.layer < 0) return;
  node.swarms[layer] = 'joining';
  world.at(world.now, { type: 'join', node, layer, pause: 0 });
}

function advance(world: World, node: SimNode, stream: Stream): void {
  const { layer } = stream;
  stream.position++;
  if (world.firstPiece[layer]! + stream.position < world.firstPiece[layer + 1]!) return;
  node.layerComplete[layer] = true;
  node.layersDone++;
  if (node.layersDone === world.scenario.layers.length) {
    node.downloaded = world.now - node.started;
    if (world.scenario.client === undefined) node.finished = node.downloaded;
  }
  if (world.scenario.client !== undefined) unpack(world, node);
  openLayer(world, node, stream);
}

function unpack(world: World, node: SimNode): void {
  if (node.unpacking || node.layerComplete[node.unpacked] !== true) return;
  node.unpacking = true;
  world.at(world.now, { type: 'unpack', node });
}
