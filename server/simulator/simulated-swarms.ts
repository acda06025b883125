/** Trackers: nodes join the swarm of a layer at the first tracker that answers, and ask again less and less often. */
import { createSwarm, type Swarm, trackers } from '../agent/peers/topology.ts';
import { AGENT } from './scenario.ts';
import type { SimNode, World } from './world.ts';

/** Shortest time between two snapshots of one swarm: a tracker answers all that ask within it alike. */
const SNAPSHOT_EVERY = 0.02;
const RANKED = 12;

interface Joined {
  readonly nodes: SimNode[];
  /** Place of each number in `nodes`. */
  readonly places: Map<number, number>;
  snapshot: { readonly swarm: Swarm<SimNode>; readonly size: number; readonly at: number } | undefined;
}

/** The state of all trackers. */
export class Trackers {
  readonly #joined = new Map<string, Joined>();
  readonly #ranked: SimNode[][] = [];
  readonly #world: World;

  constructor(world: World) {
    this.#world = world;
  }

  /** Announces that a node wants a layer; the seconds until it is answered. */
  announce(node: SimNode, layer: number): number {
    const world = this.#world;
    let seconds = AGENT.joinBatch;
    for (const tracker of this.#trackersFor(node, layer)) {
      if (world.suspects(node, tracker)) continue;
      if (tracker.dead) {
        node.suspects.set(tracker.number, world.now + AGENT.suspicion);
        seconds += AGENT.connect;
        continue;
      }
      this.#listAt(tracker, node, layer);
      if (tracker !== node) seconds += 2 * world.scenario.latency;
      break;
    }
    return seconds;
  }

  /** The swarm of a layer as a node hears of it that has announced itself. */
  answer(node: SimNode, layer: number): Swarm<SimNode> {
    const world = this.#world;
    const tracker = this.#trackersFor(node, layer).find((one) => !one.dead && !world.suspects(node, one));
    if (tracker !== undefined) return this.#snapshotOf(this.#listAt(tracker, node, layer), node);
    // No tracker answers: every member may want it.
    return createSwarm(world.nodes.filter(({ number }) => node.misses?.has(number) !== true));
  }

  #trackersFor(node: SimNode, layer: number): readonly SimNode[] {
    this.#ranked[layer] ??= trackers(this.#world.members, this.#world.blobs[layer]!, RANKED);
    return this.#ranked[layer].filter(({ number }) => node.misses?.has(number) !== true).slice(0, 2);
  }

  /** The list of a tracker, with the node in it. */
  #listAt(tracker: SimNode, node: SimNode, layer: number): Joined {
    const key = `${tracker.number} ${layer}`;
    let joined = this.#joined.get(key);
    if (joined === undefined) {
      joined = { nodes: [], places: new Map(), snapshot: undefined };
      this.#joined.set(key, joined);
    }
    if (!joined.places.has(node.number)) {
      joined.places.set(node.number, joined.nodes.length);
      joined.nodes.push(node);
    }
    return joined;
  }

  #snapshotOf(joined: Joined, node: SimNode): Swarm<SimNode> {
    const { now } = this.#world;
    const { nodes, places, snapshot } = joined;
    const fresh = snapshot !== undefined && (snapshot.size === nodes.length || now - snapshot.at < SNAPSHOT_EVERY);
    if (fresh && places.get(node.number)! < snapshot.size) return snapshot.swarm;
    const swarm = createSwarm(nodes);
    joined.snapshot = { swarm, size: nodes.length, at: now };
    return swarm;
  }
}
