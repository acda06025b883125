/** The faults that the lab tries: what breaks, when, and whose pulls are not counted because their node is gone. */
import { createHash, randomBytes } from 'node:crypto';
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pieceBytes, pieceCount } from '../../formats/piece-list/piece-list.ts';
import { Attestations } from '../agent/pieces/attestation.ts';
import { encodePieceFile } from '../agent/pieces/piece-file.ts';
import type { AgentSettings, FaultLab, PushedImage } from './fault-lab.ts';
import type { OriginFault } from './faulty-origin.ts';
import type { Manner } from './lying-agent.ts';
import { machineOf, setLink } from './network.ts';

/** A fault. */
export interface Fault {
  readonly name: string;
  /** The registry fails so: then pulls without agents are measured under the same fault. */
  readonly origin?: OriginFault;
  readonly forgedLists?: boolean;
  /** Nodes that are down. */
  readonly gone?: readonly number[];
  /** Nodes of bad faith, which do not pull: one that pulls finds its own pieces wrong, and drops them. */
  readonly idle?: readonly number[];
  /** Before the pulls. */
  readonly prepare?: (lab: FaultLab, image: PushedImage) => Promise<unknown>;
  /** In the middle of the pulls. */
  readonly strike?: (lab: FaultLab) => unknown;
  /** The same image is pulled once more by those whose pull failed. */
  readonly again?: boolean;
  /** Quick enough for each run of the tests. */
  readonly cheap?: boolean;
}

/** Milliseconds for which a node is cut off, and for which a registry fails. */
const PARTITION = 5_000;
const OUTAGE = 3_000;

const BROKEN_ORIGINS: Readonly<Record<'429-often' | '500-often' | 'slow' | 'reset', string>> = {
  '429-often': 'the registry answers every other request for a blob with 429',
  '500-often': 'the same with 500',
  slow: 'the registry sends 1 MB/s on each connection',
  reset: 'the registry breaks each connection after 1.5 MB',
};

const LIARS: Readonly<Record<Manner, string>> = {
  garbage: 'an agent sends wrong pieces without a good signature',
  silent: 'an agent announces all blobs, and never answers',
  waiting: 'the same, with signs of life for ever',
  trickle: 'the same, with a byte each 0.7 s',
};

/** All faults, in the order of the table in docs/agent.md. */
export const FAULTS: readonly Fault[] = [
  { name: 'nothing', cheap: true },
  { name: 'a node is killed', gone: [2], strike: (lab) => lab.signal(2, 'SIGKILL', { node: true }) },
  { name: 'an agent is killed', strike: (lab) => lab.signal(2, 'SIGKILL'), cheap: true },
  {
    name: 'the serving process of an agent is killed',
    prepare: (lab) => lab.reconfigure(2, withHolder),
    strike: (lab) => lab.signalWorker(2, 'SIGKILL'),
  },
  {
    name: 'the serving process of an agent is stopped (SIGSTOP)',
    prepare: (lab) => lab.reconfigure(2, withHolder),
    strike: (lab) => lab.signalWorker(2, 'SIGSTOP'),
  },
  { name: 'a node is cut off for 5 s', strike: () => cutOff(2) },
  {
    name: 'one of two zones is down',
    gone: [3, 4],
    prepare: (lab) => each(lab, (number) => lab.reconfigure(number, inZones)),
    strike: (lab) => {
      for (const number of [3, 4]) lab.signal(number, 'SIGKILL', { node: true });
    },
  },
  { name: 'every cache is on a full disk', prepare: (lab) => each(lab, (number) => onFullDisk(lab, number)) },
  {
    name: 'half of the nodes know other members',
    prepare: (lab) => each(lab, (number) => (number % 2 === 0 ? lab.reconfigure(number, withStrangers) : undefined)),
  },
  ...entries(BROKEN_ORIGINS).map(([origin, name]) => ({ name, origin, cheap: origin === '500-often' })),
  ...(['429', '500'] as const).map((origin) => ({
    name: `the registry answers ${origin} for blobs for 3 s`,
    origin,
    strike: (lab: FaultLab) => sleep(OUTAGE).then(() => lab.setOrigin('none')),
  })),
  ...entries(LIARS).map(([manner, name]) => ({
    name,
    idle: [4],
    cheap: manner === 'garbage',
    prepare: (lab: FaultLab, { layers }: PushedImage) => lab.corrupt(4, manner, layers),
  })),
  { name: 'a node signs wrong pieces', idle: [4], prepare: poisoned, again: true },
  {
    name: 'a node signs wrong pieces, `verify: strict`',
    idle: [4],
    prepare: async (lab, image) => {
      await each(lab, (number) =>
        lab.reconfigure(number, ({ agent }) => void Object.assign(agent, { verify: 'strict' })),
      );
      await poisoned(lab, image);
    },
  },
  { name: 'the image names forged piece lists', forgedLists: true, cheap: true },
];

function each(lab: FaultLab, change: (number: number) => Promise<void> | undefined): Promise<unknown> {
  return Promise.all(lab.numbers.map(change));
}

/** Cuts a node off, and lets it back. */
async function cutOff(number: number): Promise<void> {
  await setLink(machineOf(number), 'down');
  await sleep(PARTITION);
  await setLink(machineOf(number), 'up');
}

function withHolder({ agent }: AgentSettings): void {
  agent.keepSockets = true;
}

function inZones({ agent }: AgentSettings): void {
  const zoneOf = (id: string) => (agent.peers.static.indexOf(id) < 2 ? 'a' : 'b');
  agent.zone = zoneOf(agent.advertise);
  agent.peers.static = agent.peers.static.map((id) => `${id} ${zoneOf(id)}`);
}

/** Itself, and addresses where nobody is: on the network, so that nobody refuses a connection either. */
function withStrangers({ agent }: AgentSettings): void {
  agent.peers.static = [agent.advertise, ...[1, 2, 3].map((number) => `10.99.0.20${number}:65002`)];
}

/** Puts a node's cache on a file system that has no room. */
async function onFullDisk(lab: FaultLab, number: number): Promise<void> {
  const path = await lab.smallDisk(number);
  await lab.reconfigure(number, ({ agent }) => {
    agent.cache.path = join(path, 'cache');
  });
  await lab.fill(path);
}

/** Fills the cache of node 4 with pieces that are not the image's, which it signs as their owner. */
async function poisoned(lab: FaultLab, image: PushedImage): Promise<void> {
  await lab.reconfigure(4, async ({ agent }) => {
    const { caFile, certFile, keyFile } = agent.peers.certificates;
    const [ca, cert, key] = await Promise.all([caFile, certFile, keyFile].map((file) => readFile(file, 'utf8')));
    const attestations = new Attestations({ ca: ca!, cert: cert!, key: key! });
    for (const digest of image.layers) {
      const folder = join(agent.cache.path, digest.replace(':', '-'));
      await mkdir(folder, { recursive: true });
      const { size } = await stat(join(image.layout, 'blobs', digest.replace(':', '/')));
      for (let index = 0; index < pieceCount(size); index++) {
        const bytes = randomBytes(pieceBytes(size, index));
        const sha256 = createHash('sha256').update(bytes).digest('hex');
        const attestation = attestations.sign({ digest, size, index, sha256 }, 'owner', agent.advertise);
        await writeFile(join(folder, String(index)), encodePieceFile({ bytes, sha256, attestation }));
      }
    }
  });
}

function entries<K extends string, V>(record: Readonly<Record<K, V>>): [K, V][] {
  return Object.entries(record) as [K, V][];
}
