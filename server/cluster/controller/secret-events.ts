/** Writes Events about secrets that cannot be used; the same complaint once in an hour, a few at a time, the rest is dropped. */
import { randomUUID } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { asAccelError } from '../../../base/error.ts';
import { RESOURCES } from '../kube/kube-resources.ts';
import type { KubeClient } from '../kube.ts';

const QUIET = 3_600_000;
const MOST_COMPLAINTS = 5_000;
const MOST_RUNNING = 20;
/** Milliseconds for one. */
const TIME = 5_000;

/** Writes Events in the background. */
export class SecretEvents {
  readonly #client: KubeClient;
  readonly #log: (line: string) => void;
  readonly #said = new LRUCache<string, true>({ max: MOST_COMPLAINTS, ttl: QUIET });
  readonly #running = new Set<Promise<void>>();

  constructor(client: KubeClient, log: (line: string) => void) {
    this.#client = client;
    this.#log = log;
  }

  /** Complains about a secret. Returns at once. */
  complain({ namespace, name }: { readonly namespace: string; readonly name: string }, message: string): void {
    const key = `${namespace}/${name} ${message}`;
    if (this.#said.has(key)) return;
    this.#said.set(key, true);
    this.#log(`secret ${namespace}/${name}: ${message}`);
    if (this.#running.size >= MOST_RUNNING) return;
    const now = new Date().toISOString();
    const event = {
      apiVersion: 'v1',
      kind: 'Event',
      metadata: { name: `accel.${randomUUID()}`, namespace },
      ...{ involvedObject: { apiVersion: 'v1', kind: 'Secret', name, namespace } },
      ...{ reason: 'SecretNotUsed', message, type: 'Warning', source: { component: 'accel' } },
      ...{ firstTimestamp: now, lastTimestamp: now, count: 1 },
    };
    const written = this.#client
      .create(RESOURCES.events, event, { signal: AbortSignal.timeout(TIME) })
      .then(() => undefined)
      .catch((error: unknown) => this.#log(`an Event cannot be written: ${asAccelError(error).message}`))
      .finally(() => this.#running.delete(written));
    this.#running.add(written);
  }

  /** Waits until all Events are written. */
  async close(): Promise<void> {
    await Promise.all(this.#running);
  }
}
