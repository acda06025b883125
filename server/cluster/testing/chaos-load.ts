/** The work that goes on while parts are killed: pods and ReplicaSets are made, secrets come and change, tags move. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Secret } from '../controller/secret-watches.ts';
import { isKubeError } from '../kube/kube-error.ts';
import { type KubeObject, RESOURCES, type Resource } from '../kube/kube-resources.ts';
import type { KubeClient } from '../kube.ts';
import { REWRITTEN } from '../rewrite/notes.ts';
import { DOCKER_CONFIG_KEY, DOCKER_CONFIG_TYPE } from '../rewrite/pull-secrets.ts';
import type { StoredPod } from './chaos-kubelet.ts';
import {
  authorizationOf,
  type ChaosParts,
  type Content,
  NAMESPACES,
  putManifest,
  STALENESS,
  TAGS,
  USERS,
} from './chaos-parts.ts';

/** A number at least 0 and below 1. */
export type Random = () => number;
/** A namespace of the pods. */
type Namespace = keyof typeof NAMESPACES;

/** ReplicaSets, whose pods the controller manager makes. */
export const REPLICA_SETS: Resource = { group: 'apps', version: 'v1', plural: 'replicasets', namespaced: true };
/** Pods of each of them. */
export const REPLICAS = 3;
/** Label of their pods. */
export const REPLICA_LABEL = 'chaos';

/** Milliseconds: the wait after a failure, how long a decision may take beside what was known, and the longest until a tag is converted. */
const AGAIN = 200;
const DECISION = 1_500;
const LONGEST_CONVERSION = 8_000;

/** A time in which a tag and its accelerated tag were of one image, in milliseconds. */
interface Match {
  readonly from: number;
  to: number;
}

/** Things that were made or changed, and rewritten images by mode. */
export interface ChaosFigures {
  pods: number;
  replicaSets: number;
  /** Pull secrets that were made or changed. */
  secrets: number;
  /** Tags that got another content. */
  moves: number;
  'on-demand': number;
  p2p: number;
}

/** Makes pods until it is closed. */
export class ChaosLoad {
  readonly #parts: ChaosParts;
  readonly #client: KubeClient;
  readonly #random: Random;
  readonly #onPod: (pod: StoredPod) => void;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>[] = [];
  readonly #secrets: Record<Namespace, string[]> = { lazy: [], swarm: [], both: [] };
  readonly #matches = new Map<string, Match[]>();
  /** The content that each tag has. */
  readonly #present = new Map<string, Content>();
  readonly #outdated: string[] = [];
  readonly #refused = new Set<string>();
  readonly #figures: ChaosFigures = { pods: 0, replicaSets: 0, secrets: 0, moves: 0, 'on-demand': 0, p2p: 0 };
  /** Names of what must exist in the end. */
  readonly pods: string[] = [];
  readonly replicaSets: string[] = [];
  #next = 0;

  constructor(parts: ChaosParts, client: KubeClient, random: Random, onPod: (pod: StoredPod) => void) {
    this.#parts = parts;
    this.#client = client;
    this.#random = random;
    this.#onPod = onPod;
    for (const tag of TAGS) {
      this.#matches.set(tag, [{ from: 0, to: Number.POSITIVE_INFINITY }]);
      this.#present.set(tag, parts.contents[0]);
    }
  }

  /** Everything that was made, and how many pods were rewritten in each mode. */
  get figures(): Readonly<ChaosFigures> {
    return this.#figures;
  }

  /** Whether each kind of thing was made at least once, and a pod was rewritten in each mode. */
  get madeEachKind(): boolean {
    return Object.values(this.#figures).every((count) => count > 0);
  }

  /** Pods that got an accelerated image although it had been of an older one for longer than the webhook may believe. */
  get outdated(): readonly string[] {
    return this.#outdated;
  }

  /** Answers of the API that refused an object because of the webhook, which never may. */
  get refused(): ReadonlySet<string> {
    return this.#refused;
  }

  /** Makes two secrets in each namespace. */
  async prepare(): Promise<void> {
    for (const namespace of Object.keys(NAMESPACES) as Namespace[]) {
      for (let count = 0; count < 2; count++) await this.#makeSecret(namespace);
    }
  }

  /** Begins; `makers` work at the same time, and rest between two things for `rest` milliseconds on average. */
  start(makers: number, rest: number): void {
    const loop = async (work: () => Promise<void>, pause: number): Promise<void> => {
      while (!this.#stop.signal.aborted) {
        await work();
        await delay(pause * 2 * this.#random(), undefined, { signal: this.#stop.signal }).catch(() => undefined);
      }
    };
    for (let maker = 0; maker < makers; maker++) this.#running.push(loop(() => this.#make(), rest));
    this.#running.push(loop(() => this.#moveTag(), 2_000));
  }

  /** Ends it after the things that are being made: none is given up. */
  async close(): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#running);
  }

  /** Makes one pod, and reads it. */
  async makePod(namespace: Namespace, image: string, secret: string): Promise<StoredPod> {
    const name = `pod-${this.#next++}`;
    this.pods.push(`${namespace}/${name}`);
    const metadata = { name, namespace };
    const spec = { containers: [{ name: 'c', image }], imagePullSecrets: [{ name: secret }] };
    const asked = performance.now();
    const pod = await this.#insist<StoredPod>(RESOURCES.pods, {
      ...{ apiVersion: 'v1', kind: 'Pod', metadata, spec },
    } as StoredPod);
    this.#figures.pods += 1;
    this.#note(pod, asked, performance.now());
    this.#onPod(pod);
    return pod;
  }

  /** A secret that exists in the namespace. */
  secretOf(namespace: Namespace): string {
    return this.#pick(this.#secrets[namespace]);
  }

  async #make(): Promise<void> {
    const namespace = this.#pick(Object.keys(NAMESPACES) as Namespace[]);
    const dice = this.#random();
    if (dice < 0.06) return this.#makeReplicas(namespace);
    if (dice < 0.12) return this.#changeSecret(namespace);
    // A pod right after its secret: the copy is made while the webhook decides.
    const secret = dice < 0.25 ? await this.#makeSecret(namespace) : this.secretOf(namespace);
    await this.makePod(namespace, this.#anyImage(), secret);
  }

  #anyImage(): string {
    return `${this.#parts.image}:${this.#pick(TAGS)}`;
  }

  async #makeReplicas(namespace: Namespace): Promise<void> {
    const name = `set-${this.#next++}`;
    const labels = { [REPLICA_LABEL]: name };
    const spec = {
      containers: [{ name: 'c', image: this.#anyImage() }],
      imagePullSecrets: [{ name: this.secretOf(namespace) }],
    };
    this.replicaSets.push(`${namespace}/${name}`);
    await this.#insist(REPLICA_SETS, {
      ...{ apiVersion: 'apps/v1', kind: 'ReplicaSet', metadata: { name, namespace } },
      ...{ spec: { replicas: REPLICAS, selector: { matchLabels: labels }, template: { metadata: { labels }, spec } } },
    } as KubeObject);
    this.#figures.replicaSets += 1;
  }

  async #makeSecret(namespace: Namespace): Promise<string> {
    const name = `pull-${this.#next++}`;
    await this.#insist(RESOURCES.secrets, this.#secret(namespace, name));
    this.#secrets[namespace].push(name);
    this.#figures.secrets += 1;
    return name;
  }

  /** Gives a secret another login, or makes it again. */
  async #changeSecret(namespace: Namespace): Promise<void> {
    const name = this.secretOf(namespace);
    const secret = this.#secret(namespace, name);
    if (this.#random() < 0.5) {
      const key = { namespace, name };
      const patch = { kind: 'merge', content: { data: secret.data } } as const;
      await this.#again(() => this.#client.patch(RESOURCES.secrets, key, patch));
    } else {
      await this.#again(() => this.#client.remove(RESOURCES.secrets, { namespace, name }));
      await this.#insist(RESOURCES.secrets, secret);
    }
    this.#figures.secrets += 1;
  }

  #secret(namespace: Namespace, name: string): Secret {
    const auth = authorizationOf(this.#pick(USERS)).slice('Basic '.length);
    const text = JSON.stringify({ auths: { [this.#parts.registry.host]: { auth } } });
    return {
      ...{ apiVersion: 'v1', kind: 'Secret', metadata: { name, namespace }, type: DOCKER_CONFIG_TYPE },
      data: { [DOCKER_CONFIG_KEY]: Buffer.from(text).toString('base64') },
    };
  }

  /** Pushes the other image under a tag, and its accelerated image some time later. */
  async #moveTag(): Promise<void> {
    const { registry, contents } = this.#parts;
    const tag = this.#pick(TAGS);
    const matches = this.#matches.get(tag)!;
    const content = contents.find((one) => one !== this.#present.get(tag))!;
    await this.#again(() => putManifest(registry, tag, content.base));
    // Until the answer, and from the question on: so a time is never too short.
    matches.at(-1)!.to = performance.now();
    await delay(LONGEST_CONVERSION * this.#random(), undefined, { signal: this.#stop.signal }).catch(() => undefined);
    const from = performance.now();
    await this.#again(() => putManifest(registry, `${tag}_containerd_accelerated`, content.accelerated));
    matches.push({ from, to: Number.POSITIVE_INFINITY });
    this.#present.set(tag, content);
    this.#figures.moves += 1;
  }

  /** Notes how a pod was rewritten, and whether it might be. */
  #note(pod: StoredPod, asked: number, answered: number): void {
    const notes = JSON.parse(pod.metadata.annotations?.[REWRITTEN] ?? '{}') as Record<string, string>;
    for (const [from, to] of Object.entries(notes)) {
      if (to.startsWith(`${this.#parts.agentHost}/`)) {
        this.#figures.p2p += 1;
        continue;
      }
      this.#figures['on-demand'] += 1;
      const matches = this.#matches.get(from.slice(from.lastIndexOf(':') + 1)) ?? [];
      const since = asked - STALENESS - DECISION;
      if (!matches.some((match) => match.from <= answered && match.to >= since)) {
        this.#outdated.push(`${pod.metadata.namespace}/${pod.metadata.name}: ${from} had moved, and it got ${to}`);
      }
    }
  }

  /** Creates an object, however often it takes, and reads it where an answer got lost. */
  #insist<T extends KubeObject>(resource: Resource, object: T): Promise<T> {
    return this.#again(async () => {
      try {
        return await this.#client.create<T>(resource, object);
      } catch (error) {
        if (!isKubeError(error, 'AlreadyExists')) throw error;
        return this.#client.get<T>(resource, object.metadata);
      }
    });
  }

  async #again<T>(work: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await work();
      } catch (error) {
        if (isKubeError(error, 'Invalid')) throw error;
        const { message } = error as Error;
        if (message.includes('denied the request')) this.#refused.add(message);
        await delay(AGAIN);
      }
    }
  }

  #pick<T>(from: readonly T[]): T {
    return from[Math.floor(this.#random() * from.length)]!;
  }
}
