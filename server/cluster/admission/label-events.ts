/**
 * Writes Events about pods whose label asks for something that cannot be. They go to the pod's owner, since the pod has no name yet when
 * it is asked about. The same complaint is written once in ten minutes, and no more than a queue of a few wait.
 */
import { randomUUID } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { asAccelError } from '../../../base/error.ts';
import { type KubeObject, RESOURCES } from '../kube/kube-resources.ts';
import type { KubeClient } from '../kube.ts';
import type { RewriteRequest, Rewriting } from '../rewrite.ts';

/** Milliseconds for which the same complaint is not repeated. */
const QUIET = 600_000;
const MOST_COMPLAINTS = 5_000;
/** Events that wait to be written; more are dropped. */
const MOST_WAITING = 200;
/** Milliseconds for one. */
const TIME = 5_000;
/** Longest message that the API takes. */
const MAX_MESSAGE = 1000;

/** Writes Events, one after another, in the background. */
export class LabelEvents {
  readonly #client: KubeClient;
  readonly #onOutcome: (outcome: 'written' | 'failed' | 'dropped') => void;
  readonly #log: (line: string) => void;
  readonly #said = new LRUCache<string, true>({ max: MOST_COMPLAINTS, ttl: QUIET });
  readonly #waiting: KubeObject[] = [];
  #writing: Promise<void> | undefined;

  constructor(
    client: KubeClient,
    more: {
      readonly onOutcome: (outcome: 'written' | 'failed' | 'dropped') => void;
      readonly log: (line: string) => void;
    },
  ) {
    this.#client = client;
    this.#onOutcome = more.onOutcome;
    this.#log = more.log;
  }

  /** Complains about the images of a pod that stay as they are. Returns at once. */
  complain({ pod, namespace }: RewriteRequest, { kept }: Rewriting): void {
    if (kept.length === 0) return;
    const regarding = regardingOf(pod.metadata, namespace);
    const message = kept
      .map(({ image, reason }) => `${image} stays as it is: ${reason}`)
      .join('; ')
      .slice(0, MAX_MESSAGE);
    const key = `${namespace}/${regarding.kind}/${regarding.name} ${message}`;
    if (this.#said.has(key)) return;
    this.#said.set(key, true);
    if (this.#waiting.length >= MOST_WAITING) {
      this.#onOutcome('dropped');
      return;
    }
    this.#waiting.push(eventOf(regarding, namespace, message));
    this.#writing ??= this.#write().finally(() => {
      this.#writing = undefined;
    });
  }

  /** Waits until all Events are written. */
  async flushed(): Promise<void> {
    await this.#writing;
  }

  async #write(): Promise<void> {
    for (let event = this.#waiting.shift(); event !== undefined; event = this.#waiting.shift()) {
      try {
        await this.#client.create(RESOURCES.events, event, { signal: AbortSignal.timeout(TIME) });
        this.#onOutcome('written');
      } catch (error) {
        this.#onOutcome('failed');
        this.#log(`an Event cannot be written: ${asAccelError(error).message}`);
      }
    }
  }
}

interface Regarding {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly uid?: string;
  readonly namespace: string;
}

/** The owner, or the pod where it has none. */
function regardingOf(
  { name, generateName, ownerReferences }: Partial<KubeObject['metadata']>,
  namespace: string,
): Regarding {
  const owner = ownerReferences?.find(({ controller }) => controller === true);
  if (owner !== undefined) {
    const { apiVersion, kind, uid } = owner;
    return { apiVersion, kind, name: owner.name, uid, namespace };
  }
  return { apiVersion: 'v1', kind: 'Pod', name: name ?? generateName ?? 'pod', namespace };
}

function eventOf(involvedObject: Regarding, namespace: string, message: string): KubeObject {
  const now = new Date().toISOString();
  return {
    apiVersion: 'v1',
    kind: 'Event',
    metadata: { name: `accel.${randomUUID()}`, namespace },
    ...{ involvedObject, reason: 'ImageNotAccelerated', message, type: 'Warning' },
    ...{ source: { component: 'accel' }, firstTimestamp: now, lastTimestamp: now, count: 1 },
  };
}
