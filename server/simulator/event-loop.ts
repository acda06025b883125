/** Runs a scenario: takes events in the order of their time and hands each to the module that knows it. */
import { onDeath, onRequest, wakeWaiting } from './answering.ts';
import { consume, fetchMore, onConsumed, onStart, onUnpack } from './client.ts';
import { onRefused, resumeFetches } from './fetching.ts';
import { AGENT, imageBytes, networkBound, type Scenario, scenario } from './scenario.ts';
import { Trackers } from './simulated-swarms.ts';
import { onArrived, onSent } from './transfers.ts';
import { type SimEvent, type SimNode, World } from './world.ts';

/** The result of a run; ratios are multiples of the image. */
export interface Outcome {
  readonly scenario: Scenario;
  /** Seconds of a pull, from its start to its end, over the nodes that live. */
  readonly p50: number;
  readonly p95: number;
  readonly slowest: number;
  readonly bound: number;
  readonly originRatio: number;
  readonly maxUploadRatio: number;
  readonly crossZoneRatio: number;
  /** Most peers that one node had a connection with. */
  readonly maxPeers: number;
  readonly requestsPerNode: number;
  readonly refusedPerNode: number;
  /** Pulls of living nodes that did not end. */
  readonly unfinished: number;
  readonly events: number;
}

/** Simulated seconds after which what has not ended counts as unfinished. */
const LONGEST = 50_000;

/** Simulates a scenario; the same scenario always gives the same outcome. */
export function simulate(of: Scenario): Outcome {
  const world = new World(of);
  const trackers = new Trackers(world);
  const pullers = world.choose(of.nodes, of.pullers / of.nodes).map((number) => world.nodes[number]!);
  for (const node of pullers) world.at(world.random() * of.stagger, { type: 'start', node });
  const dying = world.choose(of.nodes, of.killed);
  for (const number of dying) world.at(of.killedAt, { type: 'die', node: world.nodes[number]! });
  const doomed = new Set(dying);
  const survivors = pullers.filter(({ number }) => !doomed.has(number));
  const pulling = new Set(survivors);
  while (pulling.size > 0) {
    const event = world.queue.take();
    if (event === undefined || world.queue.time > LONGEST) break;
    world.now = world.queue.time;
    world.counts.events++;
    handle(world, trackers, event);
    // Only these end a pull.
    if (event.type === 'ready' || event.type === 'consumed' || event.type === 'unpack') {
      if (event.node.finished !== undefined) pulling.delete(event.node);
    }
  }
  return outcomeOf(world, survivors);
}

function handle(world: World, trackers: Trackers, event: SimEvent): void {
  switch (event.type) {
    case 'start':
      onStart(world, event.node);
      break;
    case 'die':
      onDeath(world, event.node);
      break;
    case 'request':
      onRequest(world, event.transfer);
      break;
    case 'sent':
      onSent(world, event.transfer);
      break;
    case 'arrived':
      onArrived(world, event.transfer);
      break;
    case 'refused':
      onRefused(world, event.transfer);
      break;
    case 'ready':
      onReady(world, event.node, event.piece);
      break;
    case 'consumed':
      onConsumed(world, event.node, event.stream);
      break;
    case 'unpack':
      onUnpack(world, event.node);
      break;
    case 'join':
      onJoin(world, trackers, event);
      break;
    case 'swarm':
      onSwarm(world, trackers, event);
      break;
  }
}

/** A piece is complete and checked. */
function onReady(world: World, node: SimNode, piece: number): void {
  if (node.dead || world.has(node, piece)) return;
  world.store(node, piece);
  node.fetches.delete(piece);
  wakeWaiting(world, node, piece);
  for (const stream of node.streams) consume(world, node, stream);
  fetchMore(world, node);
}

/** A node announces itself to the tracker, again and again while it wants the layer: its entry is soft state. */
function onJoin(world: World, trackers: Trackers, { node, layer, pause }: SimEvent & { type: 'join' }): void {
  if (node.dead || node.layerComplete[layer] === true) return;
  world.at(world.now + trackers.announce(node, layer), { type: 'swarm', node, layer, pause });
}

/** The tracker answers; the first answer lets the fetches of the layer begin. */
function onSwarm(world: World, trackers: Trackers, { node, layer, pause }: SimEvent & { type: 'swarm' }): void {
  if (node.dead) return;
  const first = node.swarms[layer] === 'joining';
  node.swarms[layer] = trackers.answer(node, layer);
  if (first) {
    resumeFetches(world, node, layer);
    fetchMore(world, node);
  }
  const next = first ? AGENT.refresh : Math.min(2 * pause, AGENT.longestRefresh);
  world.at(world.now + next, { type: 'join', node, layer, pause: next });
}

function outcomeOf({ scenario: of, nodes, registry, counts }: World, survivors: readonly SimNode[]): Outcome {
  const seconds = survivors.flatMap(({ finished }) => finished ?? []).sort((a, b) => a - b);
  const bytes = imageBytes(of);
  return {
    scenario: of,
    p50: percentile(seconds, 0.5),
    p95: percentile(seconds, 0.95),
    slowest: percentile(seconds, 1),
    bound: Math.max(networkBound(of), of.client === undefined ? 0 : clientBound(of)),
    originRatio: counts.originBytes / bytes,
    maxUploadRatio: nodes.reduce((most, { uploaded }) => Math.max(most, uploaded), 0) / bytes,
    crossZoneRatio: counts.crossZoneBytes / bytes,
    maxPeers: nodes.reduce((most, { known }) => Math.max(most, known.size - (known.has(registry.number) ? 1 : 0)), 0),
    requestsPerNode: counts.requests / nodes.length,
    refusedPerNode: counts.refused / nodes.length,
    unfinished: survivors.length - seconds.length,
    events: counts.events,
  };
}

/** Seconds that one node takes alone, with a registry as fast as its own link: below this no network helps. */
function clientBound(of: Scenario): number {
  const alone = { nodes: 1, pullers: 1, zones: 1, killed: 0, missing: 0, slow: 0, stagger: 0, registry: of.down };
  const world = new World(scenario({ ...of, ...alone }));
  const trackers = new Trackers(world);
  const node = world.nodes[0]!;
  world.at(0, { type: 'start', node });
  for (let event = world.queue.take(); event !== undefined && node.finished === undefined; event = world.queue.take()) {
    world.now = world.queue.time;
    handle(world, trackers, event);
  }
  return node.finished ?? Number.NaN;
}

/** The smallest value that at least `share` of the sorted values do not exceed; not a number without values. */
function percentile(sorted: readonly number[], share: number): number {
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
}
