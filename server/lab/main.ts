/**
 * `npm run lab`: pulls one image on many nodes at once, through agents or directly, over links of known speed, with a real
 * registry and real containerds. Needs root, for network namespaces. Prints a table, and with --json one line of JSON at the end.
 */
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
import { createNetwork, machineOf, REGISTRY_MACHINE, registryBytesSent, removeNetwork, setLink } from './network.ts';
import { Processes } from './processes.ts';

const HELP = `npm run lab -- [options]      needs root and Linux

Pulls one image on many nodes at the same time, in network namespaces on this machine, and measures what the registry
sends and how long the slowest node waits.

  --nodes N        nodes, each with a containerd and an agent (default 8)
  --uplink RATE    what the registry's link carries, in tc's words (default 50mbit)
  --image MIBxN    MiB of the image, in N layers (default 64x4)
  --direct         without agents, for comparison
  --kill N         kill the agent of node N after half of the time that one copy takes
  --freeze N       stop the agent of node N (SIGSTOP) at the same moment: it accepts, and never answers
  --partition N    cut node N off the network for five seconds, at the same moment
  --warm           node 1 has the image before the others pull
  --containerd DIR folder of containerd and ctr (default: 2.x where it was built, else the one on PATH)
  --json           print the result as one line of JSON at the end
  --keep           keep the folder with all logs
`;

/** Milliseconds for which a node is cut off. */
const PARTITION = 5_000;

/** Options of a run. */
interface LabOptions {
  readonly nodes: number;
  readonly uplink: string;
  readonly mebibytes: number;
  readonly layers: number;
  readonly direct: boolean;
  readonly kill: number | undefined;
  readonly freeze: number | undefined;
  readonly partition: number | undefined;
  readonly warm: boolean;
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
    freeze: { type: 'string' },
    partition: { type: 'string' },
    warm: { type: 'boolean', default: false },
    containerd: { type: 'string' },
    json: { type: 'boolean', default: false },
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
    kill: values.kill === undefined ? undefined : Number(values.kill),
    freeze: values.freeze === undefined ? undefined : Number(values.freeze),
    partition: values.partition === undefined ? undefined : Number(values.partition),
    warm: values.warm,
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
  const tools = findTools({ containerd: values.containerd });
  if (typeof tools === 'string') {
    console.error(tools);
    return 2;
  }
  const say = (line: string) => (values.json ? console.error(line) : console.log(line));
  const folder = await mkdtemp(join(tmpdir(), 'accel-lab-'));
  const processes = new Processes();
  let ending: Promise<void> | undefined;
  const cleanUp = () => {
    ending ??= (async () => {
      await processes.stop();
      await removeNetwork();
      if (values.keep) say(`kept ${folder}`);
      else await rm(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 });
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
  await createNetwork(options.nodes, options.uplink);
  const image = await makeImage(join(folder, 'layout'), options.mebibytes * 2 ** 20, options.layers);
  await startRegistry(processes, tools, folder);
  await push(processes, folder);
  await configureNodes(folder, options.nodes, { direct: options.direct, isV2: tools.isV2 });
  const agents = new Map<number, Awaited<ReturnType<typeof startAgentOn>>>();
  await Promise.all(
    numbers.map(async (number) => {
      await startContainerd(processes, tools, folder, number);
      if (!options.direct) agents.set(number, await startAgentOn(processes, tools, folder, number));
    }),
  );
  if (options.warm) {
    await pull(processes, tools, folder, { number: 1, image: `${REGISTRY_HOST}/lab/image:latest` });
    agents.get(1)?.kill('SIGKILL');
    await rm(join(folder, 'node-1/cache'), { recursive: true, force: true });
    if (!options.direct) await startAgentOn(processes, tools, folder, 1);
    // Its content store is announced at its start.
    await sleep(2_000);
  }
  const before = await registryBytesSent();
  const started = performance.now();
  for (const [number, signal] of [
    [options.kill, 'SIGKILL'],
    [options.freeze, 'SIGSTOP'],
  ] as const) {
    if (number === undefined) continue;
    const victim = agents.get(number);
    setTimeout(() => victim?.kill(signal), oneCopy(options) * 500).unref();
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
  const results = await Promise.all(
    numbers.map((number) => pullOn(number, image, { tools, folder, processes, started })),
  );
  const registryBytes = (await registryBytesSent()) - before;
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
async function push(processes: Processes, folder: string): Promise<void> {
  const command = [
    'skopeo',
    'copy',
    '--quiet',
    '--dest-tls-verify=false',
    '--insecure-policy',
    `oci:${join(folder, 'layout')}:latest`,
    'docker://127.0.0.1:5000/lab/image:latest',
  ];
  const code = await processes.run(REGISTRY_MACHINE, command, { log: join(folder, 'push.log') });
  if (code !== 0) throw new Error(`the image could not be pushed: skopeo ended with ${code}, see ${folder}/push.log`);
}

/** Seconds that one copy of the image takes over the registry's link. */
function oneCopy({ mebibytes, uplink }: LabOptions): number {
  const scale = { k: 1e3, m: 1e6, g: 1e9 }[uplink.at(-4) as 'k' | 'm' | 'g'];
  return (mebibytes * 2 ** 20 * 8) / (Number.parseInt(uplink, 10) * scale);
}
