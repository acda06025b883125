/** A lab that outlives many pulls: nodes, a registry that fails on demand, and a new image for each pull. */
import { type ChildProcess, execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { OriginFault, SentBlob } from './faulty-origin.ts';
import { type LabImage, makeImage } from './image.ts';
import type { Manner } from './lying-agent.ts';
import {
  configureNodes,
  hostsToml,
  nodeFolder,
  pull,
  REGISTRY_HOST,
  startAgentOn,
  startContainerd,
  startRegistry,
  type Tools,
} from './machines.ts';
import { createNetwork, inside, machineOf, REGISTRY_MACHINE, registryBytesSent, shapeRegistry } from './network.ts';
import type { Processes } from './processes.ts';

/** The lab's surroundings and size. */
export interface FaultLabOptions {
  readonly tools: Tools & { readonly isV2: boolean };
  readonly folder: string;
  readonly processes: Processes;
  readonly nodes: number;
  /** The speed of the registry's link, in tc's words. */
  readonly uplink: string;
  readonly mebibytes: number;
  readonly layers: number;
}

/** An image in the registry. */
export interface PushedImage extends LabImage {
  readonly reference: string;
  readonly layout: string;
}

/** Pulls of one image by several nodes at once. */
export interface PullResult {
  /** From the start to the end of the slowest whole pull. */
  readonly seconds: number;
  readonly failed: number;
  /** Last words of those that failed. */
  readonly said: readonly string[];
  /** Bytes that the registry's interface sent, by the size of the image. */
  readonly copies: number;
  /** Of these, what the runtimes asked the registry for themselves; the rest went to agents. */
  readonly runtimes: number;
  /** Counts how many times an agent took another one for dead. */
  readonly dead: number;
}

/** An agent's configuration, as far as faults change it. */
export interface AgentSettings {
  readonly agent: {
    zone?: string;
    verify?: string;
    keepSockets?: boolean;
    readonly advertise: string;
    readonly peers: {
      static: string[];
      readonly certificates: Readonly<Record<'caFile' | 'certFile' | 'keyFile', string>>;
    };
    readonly cache: { path: string };
  };
}

const execute = promisify(execFile);

/** The registry behind the one that fails. */
const UPSTREAM_PORT = 5001;
/** Milliseconds after which a pull counts as failed. */
const PATIENCE = 60_000;

/** See the head of the file. */
export class FaultLab {
  readonly numbers: readonly number[];
  readonly #o: FaultLabOptions;
  readonly #containerds = new Map<number, ChildProcess>();
  readonly #agents = new Map<number, ChildProcess>();
  readonly #originals = new Map<number, string>();
  /** Nodes that are not as they were at the start. */
  readonly #dirty = new Set<number>();
  readonly #mounts: string[] = [];
  #images = 0;

  private constructor(options: FaultLabOptions) {
    this.#o = options;
    this.numbers = Array.from({ length: options.nodes }, (_, index) => index + 1);
  }

  /** Makes the network and starts everything in it. */
  static async start(options: FaultLabOptions): Promise<FaultLab> {
    const { processes, tools, folder, nodes, uplink } = options;
    const lab = new FaultLab(options);
    await createNetwork(nodes);
    await shapeRegistry(uplink);
    await lab.setOrigin('none');
    await startRegistry(processes, tools, folder, UPSTREAM_PORT);
    const origin = join(import.meta.dirname, 'faulty-origin.js');
    const port = REGISTRY_HOST.split(':')[1]!;
    const command = [process.execPath, origin, port, String(UPSTREAM_PORT), join(folder, 'fault')];
    processes.start(REGISTRY_MACHINE, command, { log: join(folder, 'origin.log') });
    await configureNodes(folder, nodes, { direct: false, isV2: tools.isV2 });
    await Promise.all(
      lab.numbers.map(async (number) => {
        lab.#originals.set(number, await readFile(lab.#config(number), 'utf8'));
        await lab.#startNode(number);
      }),
    );
    return lab;
  }

  /** Says how the registry fails from now on. */
  async setOrigin(fault: OriginFault): Promise<void> {
    await writeFile(join(this.#o.folder, 'fault'), fault);
  }

  /** Makes an image of random bytes and pushes it. */
  async push(options: { readonly forgedLists?: boolean } = {}): Promise<PushedImage> {
    const { folder, mebibytes, layers, processes } = this.#o;
    const name = `lab/image-${++this.#images}`;
    const layout = join(folder, `layout-${this.#images}`);
    const image = await makeImage(layout, mebibytes * 2 ** 20, layers, options);
    const flags = ['--quiet', '--dest-tls-verify=false', '--insecure-policy'];
    const target = `docker://127.0.0.1:${UPSTREAM_PORT}/${name}:latest`;
    const code = await processes.run(REGISTRY_MACHINE, ['skopeo', 'copy', ...flags, `oci:${layout}:latest`, target], {
      log: join(folder, 'push.log'),
    });
    if (code !== 0) throw new Error(`the image could not be pushed: skopeo ended with ${code}, see ${folder}/push.log`);
    return { ...image, reference: `${REGISTRY_HOST}/${name}:latest`, layout };
  }

  /** Pulls on all nodes at once but the `idle` ones; those of `uncounted` may fail. `strike` happens a moment after the start. */
  async pullAll(
    image: PushedImage,
    {
      direct = false,
      uncounted = [],
      idle = [],
      strike = () => undefined,
    }: {
      readonly direct?: boolean;
      readonly uncounted?: readonly number[];
      readonly idle?: readonly number[];
      readonly strike?: () => unknown;
    } = {},
  ): Promise<PullResult> {
    for (const number of this.numbers) await this.#setDirect(number, direct);
    const before = await registryBytesSent();
    const sentBefore = (await this.#sent()).length;
    const deadBefore = await this.#dead();
    const started = performance.now();
    const struck = sleep(this.#oneCopy() / 2).then(strike);
    const results = await Promise.all(
      this.numbers
        .filter((number) => !idle.includes(number))
        .map(async (number) => {
          const code = await this.#pull(number, image);
          return { number, code, seconds: (performance.now() - started) / 1000 };
        }),
    );
    await struck;
    const sent = (await this.#sent()).slice(sentBefore).filter(({ runtime }) => runtime);
    const counted = results.filter(({ number }) => !uncounted.includes(number));
    const failed = counted.filter(({ code }) => code !== 0);
    return {
      seconds: Math.max(...counted.map(({ seconds }) => seconds)),
      failed: failed.length,
      said: await Promise.all(failed.map((one) => this.#lastWords(one))),
      copies: ((await registryBytesSent()) - before) / image.bytes,
      runtimes: sent.reduce((sum, { bytes }) => sum + bytes, 0) / image.bytes,
      dead: Math.max(0, (await this.#dead()) - deadBefore),
    };
  }

  /** Sends a signal to a node's agent, and to its containerd where the whole node is meant. */
  signal(number: number, signal: NodeJS.Signals, { node = false }: { readonly node?: boolean } = {}): void {
    this.#dirty.add(number);
    for (const group of node ? [this.#agents, this.#containerds] : [this.#agents]) group.get(number)?.kill(signal);
  }

  /** Sends a signal to the process that serves for a node's agent, which has a holder. */
  async signalWorker(number: number, signal: NodeJS.Signals): Promise<void> {
    const log = await readFile(join(nodeFolder(this.#o.folder, number), 'agent.log'), 'utf8');
    const last = [...log.matchAll(/worker (\d+) serves/g)].at(-1);
    if (last === undefined) throw new Error(`no worker serves on node ${number}`);
    process.kill(Number(last[1]), signal);
  }

  /** Ends a node's agent, and starts it again with changed settings. */
  async reconfigure(number: number, change: (settings: AgentSettings) => Promise<void> | void): Promise<void> {
    this.#dirty.add(number);
    await this.#end(this.#agents, number);
    const settings = JSON.parse(await readFile(this.#config(number), 'utf8')) as AgentSettings;
    await change(settings);
    await writeFile(this.#config(number), JSON.stringify(settings));
    await this.#startAgent(number);
  }

  /** Makes a small file system for a node; the folder. */
  async smallDisk(number: number): Promise<string> {
    const path = join(nodeFolder(this.#o.folder, number), 'small');
    await mkdir(path, { recursive: true });
    await execute('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'accel-lab', path]);
    this.#mounts.push(path);
    return path;
  }

  /** Writes a small file system full. */
  async fill(path: string): Promise<void> {
    await writeFile(join(path, 'full'), Buffer.alloc(4 * 2 ** 20)).catch(() => undefined);
  }

  /** Unmounts what {@link smallDisk} has mounted. */
  async unmount(): Promise<void> {
    for (const path of this.#mounts.splice(0)) await execute('umount', ['-l', path]);
  }

  /** Puts a liar in the place of a node's agent. */
  async corrupt(number: number, manner: Manner, digests: readonly string[]): Promise<void> {
    this.#dirty.add(number);
    await this.#end(this.#agents, number);
    const program = join(import.meta.dirname, 'lying-agent.js');
    const command = [process.execPath, program, this.#config(number), manner, ...digests];
    this.#agents.set(
      number,
      this.#o.processes.start(machineOf(number), command, { log: join(this.#o.folder, 'liar.log') }),
    );
    // It announces its blobs twice a second.
    await sleep(1_500);
  }

  /** Brings everything back to what it was at the start. */
  async restore(): Promise<void> {
    await this.setOrigin('none');
    await Promise.all(
      [...this.#dirty].map(async (number) => {
        await this.#end(this.#agents, number);
        await this.#end(this.#containerds, number);
        await writeFile(this.#config(number), this.#originals.get(number)!);
        await this.#startNode(number);
      }),
    );
    this.#dirty.clear();
    await this.unmount();
  }

  async #startNode(number: number): Promise<void> {
    const { processes, tools, folder } = this.#o;
    await rm(join(nodeFolder(folder, number), 'sock'), { force: true });
    this.#containerds.set(number, await startContainerd(processes, tools, folder, number));
    await this.#startAgent(number);
  }

  async #startAgent(number: number): Promise<void> {
    const { processes, tools, folder } = this.#o;
    this.#agents.set(number, await startAgentOn(processes, tools, folder, number));
  }

  async #end(group: Map<number, ChildProcess>, number: number): Promise<void> {
    const child = group.get(number);
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    // The processes that serve for a holder would finish what is in progress, on its ports.
    const served = await childrenOf(child.pid!);
    child.kill('SIGCONT');
    child.kill('SIGKILL');
    await gone;
    for (const pid of served) await killed(pid);
  }

  async #setDirect(number: number, direct: boolean): Promise<void> {
    const path = join(nodeFolder(this.#o.folder, number), 'certs.d', REGISTRY_HOST, 'hosts.toml');
    await writeFile(path, hostsToml(direct));
  }

  async #pull(number: number, { reference }: PushedImage): Promise<number> {
    const { processes, tools, folder } = this.#o;
    const over = new AbortController();
    const patience = sleep(PATIENCE, 124, { signal: over.signal }).catch(() => 124);
    const code = await Promise.race([pull(processes, tools, folder, { number, image: reference }), patience]);
    over.abort();
    return code;
  }

  async #lastWords({ number, code }: { readonly number: number; readonly code: number }): Promise<string> {
    const log = await readFile(join(nodeFolder(this.#o.folder, number), 'pull.log'), 'utf8').catch(() => '');
    return `node ${number}, exit ${code}: ${log.trim().slice(-300)}`;
  }

  /** All that the registry has sent of blobs. */
  async #sent(): Promise<SentBlob[]> {
    const text = await readFile(join(this.#o.folder, 'fault.sent'), 'utf8').catch(() => '');
    return text.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line) as SentBlob]));
  }

  /** Milliseconds that one copy of an image takes over the registry's link. */
  #oneCopy(): number {
    const { uplink, mebibytes } = this.#o;
    const scale = { k: 1e3, m: 1e6, g: 1e9 }[uplink.at(-4) as 'k' | 'm' | 'g'];
    return ((mebibytes * 2 ** 20 * 8) / (Number.parseInt(uplink, 10) * scale)) * 1000;
  }

  /** Counts how often agents have taken others for dead, by those that answer. */
  async #dead(): Promise<number> {
    const counts = await Promise.all(
      this.numbers.map(async (number) => {
        const [file, args] = inside(machineOf(number), ['curl', '-s', '-m', '2', 'http://127.0.0.1:65003/metrics']);
        const { stdout } = await execute(file, args, { maxBuffer: 2 ** 24 }).catch(() => ({ stdout: '' }));
        return Number(/^accel_agent_peer_failures_total\{.*reason="dead".*\} (\d+)/m.exec(stdout)?.[1] ?? 0);
      }),
    );
    return counts.reduce((sum, count) => sum + count, 0);
  }

  #config(number: number): string {
    return join(nodeFolder(this.#o.folder, number), 'accel.yaml');
  }
}

/** The processes that a process has started. */
async function childrenOf(pid: number): Promise<number[]> {
  const text = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => '');
  return text.trim().split(' ').filter(Boolean).map(Number);
}

/** Kills a process, and resolves when it has ended. */
async function killed(pid: number): Promise<void> {
  for (let tries = 0; tries < 100; tries++) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      return;
    }
    await sleep(20);
  }
}
