/**
 * Chaos: while pods are made, the webhook, the controllers, the API server, etcd and the registry are killed in an order that a seed gives, and the
 * webhook hangs. In the end every pod exists, and each image can be pulled with the pod's own secrets.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { randomNumbers } from '../../../fixtures/demo-content.ts';
import type { Secret } from '../controller/secret-watches.ts';
import { type KubeObject, RESOURCES } from '../kube/kube-resources.ts';
import type { KubeClient } from '../kube.ts';
import { copyName, DOCKER_CONFIG_KEY, DOCKER_CONFIG_TYPE } from '../rewrite/pull-secrets.ts';
import { ChaosKubelet, type StoredPod } from './chaos-kubelet.ts';
import { ChaosLoad, type Random, REPLICA_LABEL, REPLICAS } from './chaos-load.ts';
import { type ChaosParts, NAMESPACES, startChaosParts, TAGS } from './chaos-parts.ts';
import { eventually } from './kube-cluster.ts';
import { RELEASE } from './webhook.ts';

/** The faults. */
export const FAULTS = ['webhook', 'webhook-hangs', 'controller', 'apiserver', 'etcd', 'registry'] as const;
/** A part that is killed, or hangs. */
export type Fault = (typeof FAULTS)[number];

/** Settings of a run. */
export interface ChaosOptions {
  /** Milliseconds in which faults begin; each round has all of them. At least one round is run. */
  readonly duration: number;
  readonly seed: number;
  /** Things that are made at the same time, and the rest of each between two in milliseconds. */
  readonly makers: number;
  readonly rest: number;
  /** Longest milliseconds that a part is down. */
  readonly longestDown: number;
  /** Longest milliseconds between two faults. */
  readonly longestPause: number;
  readonly log: (line: string) => void;
}

/** Result of a run. */
export interface ChaosReport {
  readonly faults: Readonly<Record<Fault, number>>;
  /** Everything that was made, and how many of the pods were rewritten. */
  readonly made: ChaosLoad['figures'];
  /** Pulls, and the longest time until an image was there, in milliseconds. */
  readonly pulls: ChaosKubelet['figures'];
  /** Everything that is not as it should be. */
  readonly violations: readonly string[];
}

/** Milliseconds until all is in order after the last fault. */
const RECOVERY = 90_000;
/** Milliseconds between two looks at parts that have ended by themselves. */
const SUPERVISION = 500;

/** Runs it. Throws where the parts cannot be started. */
export async function runChaos(options: ChaosOptions): Promise<ChaosReport> {
  const next = randomNumbers(options.seed);
  const random = () => next() / 2 ** 32;
  const parts = await startChaosParts();
  const faults = new Faults(parts, random, options);
  try {
    const client = await parts.cluster.client();
    const kubelet = new ChaosKubelet(client);
    const load = new ChaosLoad(parts, client, random, (pod) => kubelet.add(pod));
    await load.prepare();
    await untilRewritten(parts, load);
    options.log('all parts serve');
    load.start(options.makers, options.rest);
    await faults.run();
    // On a slow machine few things are made while parts fail: the load goes on until it has made each kind.
    await eventually(async () => load.madeEachKind, RECOVERY);
    await load.close();
    const violations = await judge(parts, { client, kubelet, load });
    await kubelet.close();
    return { faults: faults.counts, made: load.figures, pulls: kubelet.figures, violations };
  } catch (error) {
    const logs = [parts.webhook, ...parts.controllers].map(({ log }) => log.slice(-2000)).join('\n');
    throw new Error(`${(error as Error).message}\n${logs}`);
  } finally {
    await faults.close();
    await parts.stop();
  }
}

/** Kills parts and starts them again. */
class Faults {
  readonly counts: Record<Fault, number> = {
    webhook: 0,
    'webhook-hangs': 0,
    controller: 0,
    apiserver: 0,
    etcd: 0,
    registry: 0,
  };
  readonly #parts: ChaosParts;
  readonly #random: Random;
  readonly #options: ChaosOptions;
  /** Parts that are down on purpose. */
  readonly #down = new Set<string>();
  readonly #repairs = new Set<Promise<void>>();
  readonly #timer: NodeJS.Timeout;

  constructor(parts: ChaosParts, random: Random, options: ChaosOptions) {
    this.#parts = parts;
    this.#random = random;
    this.#options = options;
    // A process that ends by itself, such as an API server without etcd, is started again, as kubelet does.
    this.#timer = setInterval(() => this.#supervise(), SUPERVISION);
  }

  /** Rounds of all faults, until time is up; resolves when all parts have been started again. */
  async run(): Promise<void> {
    const end = performance.now() + this.#options.duration;
    do {
      for (const fault of this.#shuffled()) {
        await this.#inflict(fault);
        await delay(200 + this.#random() * this.#options.longestPause);
      }
    } while (performance.now() < end);
    await Promise.all(this.#repairs);
  }

  /** Ends it. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    await Promise.all(this.#repairs);
  }

  /** Half of the faults meet the next one. */
  async #inflict(fault: Fault): Promise<void> {
    const { longestDown, log } = this.#options;
    const down = 200 + this.#random() * longestDown;
    const isAlone = this.#random() < 0.5;
    const mend = (await this.#break(fault)) ?? (await this.#breakLater(fault));
    if (mend === undefined) return;
    this.counts[fault] += 1;
    log(`${fault}, for ${Math.round(down)} ms`);
    const repair = delay(down)
      .then(mend)
      .finally(() => this.#repairs.delete(repair));
    this.#repairs.add(repair);
    if (isAlone) await repair;
  }

  /** Breaks a part after everything that is broken was mended: each round has each fault. */
  async #breakLater(fault: Fault): Promise<(() => void | Promise<void>) | undefined> {
    await Promise.all(this.#repairs);
    return this.#break(fault);
  }

  /** The controller that leads, so that another one has to go on; any while that cannot be read. */
  async #leader(): Promise<number> {
    const { cluster, controllers } = this.#parts;
    const key = { namespace: RELEASE, name: 'accel-controller' };
    const client = await cluster.client();
    const lease = await client
      .find<KubeObject & { spec?: { holderIdentity?: string } }>(RESOURCES.leases, key)
      .catch(() => undefined);
    const holder = lease?.spec?.holderIdentity ?? '';
    const index = controllers.findIndex(({ pid }) => holder.endsWith(`-${pid}`));
    return index < 0 ? Math.floor(this.#random() * controllers.length) : index;
  }

  /** Breaks a part; how it is mended. Undefined for one that is broken already. */
  async #break(fault: Fault): Promise<(() => void | Promise<void>) | undefined> {
    const { cluster, registry, webhook, controllers } = this.#parts;
    const index = fault === 'controller' ? await this.#leader() : 0;
    const part = fault === 'webhook-hangs' ? 'webhook' : fault === 'controller' ? `controller ${index}` : fault;
    if (this.#down.has(part)) return undefined;
    this.#down.add(part);
    const mended = () => void this.#down.delete(part);
    switch (fault) {
      case 'webhook-hangs':
        webhook.signal('SIGSTOP');
        return () => {
          webhook.signal('SIGCONT');
          mended();
        };
      case 'registry':
        await registry.down();
        return async () => {
          await registry.restart();
          mended();
        };
      case 'apiserver':
      case 'etcd':
        await cluster.down(fault === 'etcd' ? 'etcd' : 'kube-apiserver');
        break;
      default:
        await (fault === 'webhook' ? webhook : controllers[index]!).kill();
    }
    return () => {
      mended();
      this.#supervise();
    };
  }

  #supervise(): void {
    const { cluster, webhook, controllers } = this.#parts;
    if (!this.#down.has('apiserver')) cluster.revive('kube-apiserver');
    if (!this.#down.has('etcd')) cluster.revive('etcd');
    if (!this.#down.has('webhook')) webhook.start();
    for (const [index, controller] of controllers.entries()) {
      if (!this.#down.has(`controller ${index}`)) controller.start();
    }
  }

  #shuffled(): Fault[] {
    const left: Fault[] = [...FAULTS];
    return FAULTS.map(() => left.splice(Math.floor(this.#random() * left.length), 1)[0]!);
  }
}

interface Witnesses {
  readonly client: KubeClient;
  readonly kubelet: ChaosKubelet;
  readonly load: ChaosLoad;
}

/** Waits until all is in order, and lists what is not when time is up. */
async function judge(parts: ChaosParts, { client, kubelet, load }: Witnesses): Promise<string[]> {
  const violations: string[] = [];
  const check = async (what: string, problems: () => Promise<readonly string[]>) => {
    let found: readonly string[] = [];
    await eventually(async () => {
      found = await problems();
      return found.length === 0;
    }, RECOVERY).catch((error: Error) => {
      violations.push(...(found.length > 0 ? found.slice(0, 20) : [error.message]).map((one) => `${what}: ${one}`));
    });
  };
  await check('not rewritten any more', async () => {
    await untilRewritten(parts, load);
    return [];
  });
  // Secrets that nobody but the last leader has seen.
  await load.prepare();
  const seen = new Set<string>();
  await check('a pod is missing', async () => {
    const sizes = new Map<string, number>();
    const present = new Set<string>();
    await client.list(RESOURCES.pods, {}, (object) => {
      const pod = object as StoredPod;
      const { namespace, name, labels } = pod.metadata;
      present.add(`${namespace}/${name}`);
      const set = labels?.[REPLICA_LABEL];
      if (set === undefined) return;
      sizes.set(`${namespace}/${set}`, (sizes.get(`${namespace}/${set}`) ?? 0) + 1);
      if (!seen.has(name)) kubelet.add(pod);
      seen.add(name);
    });
    return [
      ...load.pods.filter((name) => !present.has(name)),
      ...load.replicaSets
        .filter((name) => sizes.get(name) !== REPLICAS)
        .map((name) => `of ${name}: ${sizes.get(name)}`),
    ];
  });
  await check('an image cannot be pulled', async () => [...kubelet.failing].map((entry) => entry.join(': ')));
  await check('a copy is not in order', () => wrongCopies(parts, client));
  return [
    ...violations,
    ...load.outdated.map((one) => `outdated: ${one}`),
    ...[...load.refused].map((one) => `refused: ${one}`),
  ];
}

/** Resolves when pods are rewritten in each mode. */
async function untilRewritten({ image, agentHost }: ChaosParts, load: ChaosLoad): Promise<void> {
  for (const namespace of Object.keys(NAMESPACES) as (keyof typeof NAMESPACES)[]) {
    await eventually(async () => {
      // Any of the tags has an accelerated image of the same content, most of the time.
      for (const tag of TAGS) {
        const pod = await load.makePod(namespace, `${image}:${tag}`, load.secretOf(namespace));
        const name = pod.spec.containers?.[0]?.image ?? '';
        const isMapped = name.startsWith(`${agentHost}/`);
        if (namespace === 'lazy' ? name.endsWith('_accelerated') : isMapped || name.endsWith('_accelerated'))
          return true;
      }
      await delay(500);
      return false;
    }, RECOVERY);
  }
}

/** Pull secrets without their copy, copies that differ, and copies of nothing. */
async function wrongCopies({ registry, agentHost }: ChaosParts, client: KubeClient): Promise<string[]> {
  const texts = new Map<string, string>();
  await client.list(RESOURCES.secrets, { fieldSelector: `type=${DOCKER_CONFIG_TYPE}` }, (object) => {
    const { metadata, data } = object as Secret;
    const text = Buffer.from(data?.[DOCKER_CONFIG_KEY] ?? '', 'base64').toString('utf8');
    texts.set(`${metadata.namespace}/${metadata.name}`, text);
  });
  const wrong: string[] = [];
  const wanted = new Set<string>();
  for (const [key, text] of texts) {
    const [namespace = '', name = ''] = key.split('/');
    const copy = copyName(name);
    if (copy === undefined) continue;
    wanted.add(`${namespace}/${copy}`);
    const found = texts.get(`${namespace}/${copy}`);
    if (found !== text.replaceAll(registry.host, agentHost)) {
      wrong.push(`${key} ${found === undefined ? 'has no copy' : 'has a copy with another content'}`);
    }
  }
  for (const key of texts.keys()) {
    if (copyName(key.split('/')[1]!) === undefined && !wanted.has(key)) wrong.push(`${key} is of no secret`);
  }
  return wrong;
}
