/**
 * `npm run lab`: pulls one image on many nodes at once, through agents or directly, over links of known speed, with a real
 * registry and real containerds. Needs root, for network namespaces. Prints a table, and with --json one line of JSON at the end.
 */
import type { ChildProcess } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { findTools } from './find-tools.ts';
import { type LabImage, makeImage } from './image.ts';
import {
  configureNodes,
  hasBlobs,
  pull,
  REGISTRY_HOST,
  startAgentOn,
  startContainerd,
  startRegistry,
  type Tools,
} from './machines.ts';
import {
  createNetwork,
  machineOf,
  mountMemory,
  REGISTRY_MACHINE,
  registryBytesSent,
  removeNetwork,
  setLink,
  shapeRegistry,
  unmountMemory,
} from './network.ts';
import { observe, sumMetrics } from './observe.ts';
import { Processes } from './processes.ts';

const HELP = `npm run lab -- [options]      needs root and Linux

Pulls one image on many nodes at the same time, in network namespaces on this machine, and measures what the registry
sends and how long the slowest node waits.

  --nodes N        nodes, each with a containerd and an agent (default 8)
  --uplink RATE    what the registry's link carries, in tc's words (default 50mbit)
  --image MIBxN    MiB of the image, in N layers (default 64x4)
  --direct         without agents, for comparison
  --kill N         node N dies after half of the time that one copy takes: its agent and its containerd; its pull counts as none
  --kill-agent N   only the agent of node N dies at that moment: its containerd goes on to the registry
  --freeze N       stop the agent of node N (SIGSTOP) at the same moment: it accepts, and never answers
  --partition N    cut node N off the network for five seconds, at the same moment
  --warm           node 1 has the image before the others pull
  --cold           the nodes have pulled nothing before; otherwise another image of 16 MiB, before the link is limited
  --containerd DIR folder of containerd and ctr (default: 2.x where it was built, else the one on PATH)
  --details        print how the registry's link was used, processor seconds, memory, and sums of the agents' metrics
  --profile DIR    write a processor profile of each agent into a folder
  --json           print the result as one line of JSON at the end
  --all-on         agents with an audit log, all limits and a process that keeps the sockets, beside what is always on
  --disk           keep the nodes' content on the disk under /tmp, not in memory
  --keep           keep the folder with all logs
`;

/** Milliseconds for which a node is cut off. */
const PARTITION = 5_000;
/** MiB of the image that nodes have pulled before, and milliseconds for them to become idle. */
const FIRST_MEBIBYTES = 16;
const SETTLE = 3_000;

/** Options of a run. */
interface LabOptions {
  readonly nodes: number;
  readonly uplink: string;
  readonly mebibytes: number;
  readonly layers: number;
  readonly direct: boolean;
  readonly kill: number | undefined;
  readonly killAgent: number | undefined;
  readonly freeze: number | undefined;
  readonly partition: number | undefined;
  readonly warm: boolean;
  readonly cold: boolean;
  readonly allOn: boolean;
}

/** Measurements of a run. */
interface LabResult {
  /** From the start to the last byte of the image at the slowest node. */
  readonly slowestSeconds: number;
  /** From the start to the end of the slowest whole pull, unpacking included. */
  readonly pullSeconds: number;
  /** Bytes that the registry's interface sent, TCP and IP included. */
  readonly registryBytes: number;
  readonly imageBytes: number;
  /** Pulls that failed. */
  readonly failed: number;
}

const { values } = parseArgs({
  options: {
    nodes: { type: 'string', default: '8' },
    uplink: { type: 'string', default: '50mbit' },
    image: { type: 'string', default: '64x4' },
    direct: { type: 'boolean', default: false },
    kill: { type: 'string' },
    'kill-agent': { type: 'string' },
    freeze: { type: 'string' },
    partition: { type: 'string' },
    warm: { type: 'boolean', default: false },
    cold: { type: 'boolean', default: false },
    'all-on': { type: 'boolean', default: false },
    containerd: { type: 'string' },
    json: { type: 'boolean', default: false },
    details: { type: 'boolean', default: false },
    profile: { type: 'string' },
    disk: { type: 'boolean', default: false },
    keep: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) console.log(HELP);
else process.exitCode = await main();

async function main(): Promise<number> {
  const [mebibytes = 0, layers = 0] = values.image.split('x').map(Number);
  const options = {
    nodes: Number(values.nodes),
    uplink: values.uplink,
    mebibytes,
    layers,
    direct: values.direct,
    kill: numberOf(values.kill),
    killAgent: numberOf(values['kill-agent']),
    freeze: numberOf(values.freeze),
    partition: numberOf(values.partition),
    warm: values.warm,
    cold: values.cold,
    allOn: values['all-on'],
  };
  const bad =
    !(Number.isInteger(options.nodes) && options.nodes > 0 && options.nodes <= 200) || !(mebibytes > 0 && layers > 0);
  if (bad || !/^\d+(k|m|g)bit$/.test(options.uplink)) {
    console.error(HELP);
    return 2;
  }
  if (process.getuid?.() !== 0) {
    console.error('The lab makes network namespaces: run it as root.');
    return 2;
  }
  const tools = findTools({ containerd: values.containerd, profile: values.profile });
  if (typeof tools === 'string') {
    console.error(tools);
    return 2;
  }
  const say = (line: string) => (values.json ? console.error(line) : console.log(line));
  const folder = await mkdtemp(join(tmpdir(), 'accel-lab-'));
  if (!values.disk) await mountMemory(folder);
  const processes = new Processes();
  let ending: Promise<void> | undefined;
  const cleanUp = () => {
    ending ??= (async () => {
      await processes.stop();
      await removeNetwork();
      if (values.keep) return say(`kept ${folder}`);
      await unmountMemory(folder);
      await rm(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 });
    })();
    return ending;
  };
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => void cleanUp().then(() => process.exit(130)));
  try {
    const result = await measure(options, { tools, folder, processes, say });
    const { slowestSeconds, pullSeconds, registryBytes, imageBytes, failed } = result;
    say(`last byte at the slowest node  ${slowestSeconds.toFixed(1)} s`);
    say(`slowest whole pull             ${pullSeconds.toFixed(1)} s`);
    say(
      `the registry sent              ${(registryBytes / 1e6).toFixed(1)} MB, ${(registryBytes / imageBytes).toFixed(3)} × the image`,
    );
    say(`failed pulls                   ${failed}`);
    await cleanUp();
    if (values.json) console.log(JSON.stringify(result));
    return failed === 0 ? 0 : 1;
  } finally {
    await cleanUp();
  }
}

function numberOf(text: string | undefined): number | undefined {
  return text === undefined ? undefined : Number(text);
}

interface Surroundings {
  readonly tools: Tools & { readonly isV2: boolean };
  readonly folder: string;
  readonly processes: Processes;
  readonly say: (line: string) => void;
}

async function measure(options: LabOptions, { tools, folder, processes, say }: Surroundings): Promise<LabResult> {
  const numbers = Array.from({ length: options.nodes }, (_, index) => index + 1);
  say(
    `${options.nodes} nodes, registry at ${options.uplink}, ${options.mebibytes} MiB in ${options.layers} layers, ${options.direct ? 'directly' : 'through agents'}`,
  );
  await createNetwork(options.nodes);
  const image = await makeImage(join(folder, 'layout'), options.mebibytes * 2 ** 20, options.layers);
  const registry = await startRegistry(processes, tools, folder);
  await push(processes, folder, 'layout', 'image');
  if (!options.cold) {
    await makeImage(join(folder, 'first'), FIRST_MEBIBYTES * 2 ** 20, options.layers);
    await push(processes, folder, 'first', 'first');
  }
  await configureNodes(folder, options.nodes, { direct: options.direct, isV2: tools.isV2, allOn: options.allOn });
  const agents = new Map<number, ChildProcess>();
  const containerds = new Map<number, ChildProcess>();
  await Promise.all(
    numbers.map(async (number) => {
      containerds.set(number, await startContainerd(processes, tools, folder, number));
      if (!options.direct) agents.set(number, await startAgentOn(processes, tools, folder, number));
    }),
  );
  if (!options.cold) {
    const image = `${REGISTRY_HOST}/lab/first:latest`;
    await Promise.all(numbers.map((number) => pull(processes, tools, folder, { number, image })));
    // Relays write what they have in memory when they are idle.
    await sleep(SETTLE);
  }
  await shapeRegistry(options.uplink);
  if (options.warm) {
    await pull(processes, tools, folder, { number: 1, image: `${REGISTRY_HOST}/lab/image:latest` });
    agents.get(1)?.kill('SIGKILL');
    await rm(join(folder, 'node-1/cache'), { recursive: true, force: true });
    if (!options.direct) agents.set(1, await startAgentOn(processes, tools, folder, 1));
    // Its content store is announced at its start.
    await sleep(2_000);
  }
  const ids = (children: Iterable<ChildProcess>) => [...children].flatMap(({ pid }) => pid ?? []);
  const observed = await observe(registry.pid!, {
    agents: ids(agents.values()),
    containerds: ids(containerds.values()),
    registry: ids([registry]),
  });
  const before = await registryBytesSent();
  const started = performance.now();
  for (const [number, signal] of [
    [options.kill, 'SIGKILL'],
    [options.killAgent, 'SIGKILL'],
    [options.freeze, 'SIGSTOP'],
  ] as const) {
    if (number === undefined) continue;
    const victim = agents.get(number);
    const other = number === options.kill ? containerds.get(number) : undefined;
    setTimeout(() => {
      victim?.kill(signal);
      other?.kill(signal);
    }, oneCopy(options) * 500).unref();
  }
  if (options.partition !== undefined) {
    const machine = machineOf(options.partition);
    setTimeout(() => {
      setLink(machine, 'down')
        .then(() => sleep(PARTITION))
        .then(() => setLink(machine, 'up'))
        // The run may be over, and the network gone.
        .catch(() => undefined);
    }, oneCopy(options) * 500).unref();
  }
  const living = numbers.filter((number) => number !== options.kill);
  const dying = numbers.filter((number) => number === options.kill);
  const pullsOfTheDead = Promise.all(
    dying.map((number) => pullOn(number, image, { tools, folder, processes, started })),
  );
  const results = await Promise.all(
    living.map((number) => pullOn(number, image, { tools, folder, processes, started })),
  );
  await pullsOfTheDead;
  const registryBytes = (await registryBytesSent()) - before;
  const facts = await observed();
  if (values.details) {
    say(JSON.stringify(facts));
    for (const { last, whole } of results) say(`  ${last.toFixed(2)} s last byte, ${whole.toFixed(2)} s whole`);
    const sums = await sumMetrics(processes, numbers.map(machineOf), join(folder, 'probe.log'));
    for (const [name, value] of Object.entries(sums)) say(`  ${name} ${value}`);
  }
  return {
    slowestSeconds: Math.max(...results.map(({ last }) => last)),
    pullSeconds: Math.max(...results.map(({ whole }) => whole)),
    registryBytes,
    imageBytes: image.bytes,
    failed: results.filter(({ code }) => code !== 0).length,
  };
}

interface PullContext extends Omit<Surroundings, 'say'> {
  /** When all pulls began, by `performance.now()`. */
  readonly started: number;
}

/** Pulls on one node, and watches for the last of its blobs. Times in seconds since `started`. */
async function pullOn(number: number, image: LabImage, { tools, folder, processes, started }: PullContext) {
  const since = () => (performance.now() - started) / 1000;
  let last = Number.NaN;
  let done = false;
  const watched = (async () => {
    while (!done && Number.isNaN(last)) {
      if (await hasBlobs(folder, number, image.layers)) last = since();
      else await sleep(50);
    }
  })();
  const code = await pull(processes, tools, folder, { number, image: `${REGISTRY_HOST}/lab/image:latest` });
  const whole = since();
  done = true;
  await watched;
  return { code, whole, last: Number.isNaN(last) ? whole : last };
}

/** Pushes the image within the registry's own machine, where its link is no limit. */
async function push(processes: Processes, folder: string, layout: string, name: string): Promise<void> {
  const command = [
    'skopeo',
    'copy',
    '--quiet',
    '--dest-tls-verify=false',
    '--insecure-policy',
    `oci:${join(folder, layout)}:latest`,
    `docker://127.0.0.1:5000/lab/${name}:latest`,
  ];
  const code = await processes.run(REGISTRY_MACHINE, command, { log: join(folder, 'push.log') });
  if (code !== 0) throw new Error(`the image could not be pushed: skopeo ended with ${code}, see ${folder}/push.log`);
}

/** Seconds that one copy of the image takes over the registry's link. */
function oneCopy({ mebibytes, uplink }: LabOptions): number {
  const scale = { k: 1e3, m: 1e6, g: 1e9 }[uplink.at(-4) as 'k' | 'm' | 'g'];
  return (mebibytes * 2 ** 20 * 8) / (Number.parseInt(uplink, 10) * scale);
}
