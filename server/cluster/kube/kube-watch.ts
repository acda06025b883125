/**
 * Keeps a projection of all objects of a selection in step with the API: one list, then a watch that goes on from where it broke off.
 * Bookmarks move that place on; where the server has forgotten it (410), everything is listed again and only the differences are
 * reported. Failures are retried after waits that double up to half a minute, with jitter.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { asAccelError } from '../../../base/error.ts';
import type { KubeClient, WatchEvent } from '../kube.ts';
import { isKubeError, KubeError } from './kube-error.ts';
import type { KubeObject, Resource, Selection } from './kube-resources.ts';

/** Why a watch began again; the labels of a counter. */
export type WatchRestart = 'ended' | 'failed' | 'expired';

/** A watch to keep going. */
export interface WatchOptions<T> extends Selection {
  readonly resource: Resource;
  /** Leaves spec, data and status at the server. */
  readonly metadataOnly?: boolean;
  /** The part of an object that is kept; undefined: nothing, as if it did not exist. Everything else is dropped at once. */
  readonly project: (object: KubeObject) => T | undefined;
  /** Called for each change; `now` is undefined for an object that is gone, `before` for one that is new. */
  readonly onChange?: (key: string, now: T | undefined, before: T | undefined) => void;
  readonly onRestart?: (reason: WatchRestart) => void;
  readonly log: (line: string) => void;
  /** A number in [0, 1). */
  readonly random?: () => number;
}

/** Seconds of one watch: between these two, so that those of many processes do not end together. */
const LEAST_SECONDS = 240;
const MOST_SECONDS = 480;
/** Milliseconds: the first wait after a failure, and the longest. */
const FIRST_WAIT = 250;
const LONGEST_WAIT = 30_000;
/** Milliseconds that a watch has to work until the next failure counts as the first. */
const WORKED = 10_000;
/** Milliseconds below which a watch that ends without an error counts as a failure. */
const LEAST_LIFE = 1_000;

/** A projection of objects, by `NAMESPACE/NAME` or `NAME`. */
export class KubeWatch<T> implements AsyncDisposable {
  readonly #client: KubeClient;
  readonly #options: WatchOptions<T>;
  readonly #objects = new Map<string, T>();
  readonly #stop = new AbortController();
  readonly #done: Promise<void>;
  readonly #waiting: (() => void)[] = [];
  #synced = false;
  #heard = Number.NEGATIVE_INFINITY;
  #version: string | undefined;
  #problem: string | undefined;

  /** Starts it; it runs until {@link close}. */
  constructor(client: KubeClient, options: WatchOptions<T>) {
    this.#client = client;
    this.#options = options;
    this.#done = this.#run();
  }

  /** The objects. */
  get objects(): ReadonlyMap<string, T> {
    return this.#objects;
  }

  /** Whether the first list is complete. */
  get isSynced(): boolean {
    return this.#synced;
  }

  /** Milliseconds since the server was last heard; an event, a bookmark, or the start of a watch. */
  get silence(): number {
    return performance.now() - this.#heard;
  }

  /** Why the objects may be old; undefined while the watch works. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** Resolves when the first list is complete, or rejects with the signal's reason. */
  async synced(signal?: AbortSignal): Promise<void> {
    if (this.#synced) return;
    await new Promise<void>((resolve, reject) => {
      signal?.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
      this.#waiting.push(resolve);
    });
  }

  /** Ends it. */
  async close(): Promise<void> {
    this.#stop.abort();
    await this.#done;
  }

  /** Ends it. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    let failures = 0;
    while (!signal.aborted) {
      const started = performance.now();
      try {
        if (this.#version === undefined) await this.#list();
        this.#problem = undefined;
        await this.#follow();
        this.#options.onRestart?.('ended');
        // A server, or a proxy before it, that ends each watch at once must not be asked in a loop.
        failures = performance.now() - started < LEAST_LIFE ? failures + 1 : 0;
        if (failures > 0) await this.#wait(failures, 0);
      } catch (error) {
        if (signal.aborted) return;
        if (performance.now() - started > WORKED) failures = 0;
        failures += 1;
        await this.#failed(error, failures);
      }
    }
  }

  async #failed(error: unknown, failures: number): Promise<void> {
    const { onRestart, log, resource } = this.#options;
    const isExpired = isKubeError(error, 'Expired', 'Gone') || (error instanceof KubeError && error.status === 410);
    if (isExpired) this.#version = undefined;
    onRestart?.(isExpired ? 'expired' : 'failed');
    const { message } = asAccelError(error);
    if (this.#problem === undefined && !isExpired) log(`the watch of ${resource.plural} broke off: ${message}`);
    if (!isExpired) this.#problem = message;
    // The first list after an expired version is made at once: nothing is wrong with the server.
    if (isExpired && failures === 1) return;
    await this.#wait(failures, error instanceof KubeError ? (error.retryAfter ?? 0) : 0);
  }

  async #wait(failures: number, asked: number): Promise<void> {
    const { random = Math.random } = this.#options;
    const backoff = Math.min(FIRST_WAIT * 2 ** (failures - 1), LONGEST_WAIT);
    const wait = Math.max(backoff / 2 + (random() * backoff) / 2, Math.min(asked, LONGEST_WAIT));
    await delay(wait, undefined, { signal: this.#stop.signal }).catch(() => undefined);
  }

  /** Reads all objects, and reports those that have changed or gone since. */
  async #list(): Promise<void> {
    const { resource } = this.#options;
    const gone = new Set(this.#objects.keys());
    const version = await this.#client.list(
      resource,
      this.#options,
      (object) => {
        gone.delete(keyOf(object));
        this.#set(object);
      },
      { signal: this.#stop.signal },
    );
    for (const key of gone) this.#remove(key);
    this.#version = version;
    this.#heard = performance.now();
    this.#synced = true;
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  async #follow(): Promise<void> {
    const { resource, random = Math.random } = this.#options;
    const seconds = Math.round(LEAST_SECONDS + random() * (MOST_SECONDS - LEAST_SECONDS));
    const selection = { ...this.#options, from: this.#version!, seconds };
    this.#heard = performance.now();
    for await (const event of this.#client.watch(resource, selection, { signal: this.#stop.signal })) {
      this.#heard = performance.now();
      this.#take(event);
    }
  }

  #take({ type, object }: WatchEvent): void {
    if (type === 'ERROR') {
      const { code = 0, reason = 'unknown', message = 'the watch failed' } = object;
      throw new KubeError(message, { status: code, reason, where: { resource: this.#options.resource.plural } });
    }
    if (type === 'DELETED') this.#remove(keyOf(object));
    else if (type !== 'BOOKMARK') this.#set(object);
    this.#version = object.metadata.resourceVersion ?? this.#version;
  }

  #set(object: KubeObject): void {
    const key = keyOf(object);
    const now = this.#options.project(object);
    if (now === undefined) {
      this.#remove(key);
      return;
    }
    const before = this.#objects.get(key);
    this.#objects.set(key, now);
    this.#options.onChange?.(key, now, before);
  }

  #remove(key: string): void {
    const before = this.#objects.get(key);
    if (before === undefined) return;
    this.#objects.delete(key);
    this.#options.onChange?.(key, undefined, before);
  }
}

function keyOf({ metadata: { namespace, name } }: KubeObject): string {
  return namespace === undefined ? name : `${namespace}/${name}`;
}
