/**
 * Answers which registries the pull secrets of a pod are for, and whether their copies exist. Only names of registries are kept, no
 * credentials. A copy that the controller is about to make is waited for, a moment.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { LRUCache } from 'lru-cache';
import { isKubeError } from '../kube/kube-error.ts';
import { type KubeObject, RESOURCES } from '../kube/kube-resources.ts';
import type { KubeClient } from '../kube.ts';
import { copyName, DOCKER_CONFIG_KEY, DOCKER_CONFIG_TYPE, registriesOf } from '../rewrite/pull-secrets.ts';
import type { SecretAnswer } from '../rewrite.ts';

/** A secret, as the API gives it. */
interface Secret extends KubeObject {
  readonly type?: string;
  readonly data?: Readonly<Record<string, string>>;
}

/** Answers that are remembered. */
const MOST_ANSWERS = 10_000;
/** Lookups at a time; more are refused at once. */
const MOST_LOOKUPS = 256;
/** Milliseconds for which a complete answer counts. */
const FRESH = 10_000;
/** Milliseconds between looks for a copy: half a second together. */
const COPY_WAITS = [50, 100, 150, 200];

/** Answers by namespace and name. */
export class PullSecretAnswers {
  readonly #client: KubeClient;
  readonly #isMapped: (registries: readonly string[]) => boolean;
  readonly #known = new LRUCache<string, SecretAnswer>({ max: MOST_ANSWERS, ttl: FRESH });
  readonly #lookups = new Map<string, Promise<SecretAnswer>>();

  /** `isMapped`: whether any of the registries goes through the agents, so that a copy is expected. */
  constructor(client: KubeClient, isMapped: (registries: readonly string[]) => boolean) {
    this.#client = client;
    this.#isMapped = isMapped;
  }

  /** The answer; `secret-unknown` where the API does not give one before the signal fires. Never throws. */
  async find(namespace: string, name: string, signal: AbortSignal): Promise<SecretAnswer> {
    const key = `${namespace}/${name}`;
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    if (!this.#lookups.has(key) && this.#lookups.size >= MOST_LOOKUPS) return 'secret-unknown';
    const lookup = this.#lookups.get(key) ?? this.#ask(key, { namespace, name });
    const aborted = new Promise<SecretAnswer>((resolve) => {
      signal.addEventListener('abort', () => resolve('secret-unknown'), { once: true });
    });
    return Promise.race([lookup, aborted]);
  }

  #ask(key: string, secret: { readonly namespace: string; readonly name: string }): Promise<SecretAnswer> {
    const lookup = this.#look(secret)
      .then((answer) => {
        // A missing copy may come any moment.
        if (typeof answer !== 'string' && (answer.hasCopy || !this.#isMapped(answer.registries))) {
          this.#known.set(key, answer);
        }
        return answer;
      })
      .catch((error: unknown): SecretAnswer => (isKubeError(error, 'NotFound') ? 'secret-missing' : 'secret-unknown'))
      .finally(() => this.#lookups.delete(key));
    this.#lookups.set(key, lookup);
    return lookup;
  }

  async #look({ namespace, name }: { readonly namespace: string; readonly name: string }): Promise<SecretAnswer> {
    const { type, data } = await this.#client.get<Secret>(RESOURCES.secrets, { namespace, name });
    const text = type === DOCKER_CONFIG_TYPE ? data?.[DOCKER_CONFIG_KEY] : undefined;
    // Secrets of another type are for other uses: kubelet does not pull with them either, or they name no registry.
    const registries = text === undefined ? [] : (registriesOf(Buffer.from(text, 'base64').toString('utf8')) ?? []);
    const copy = copyName(name);
    if (copy === undefined || !this.#isMapped(registries)) return { registries, hasCopy: false };
    return { registries, hasCopy: await this.#awaitCopy(namespace, copy) };
  }

  async #awaitCopy(namespace: string, name: string): Promise<boolean> {
    for (const wait of [...COPY_WAITS, 0]) {
      if ((await this.#client.find(RESOURCES.secrets, { namespace, name })) !== undefined) return true;
      if (wait > 0) await delay(wait);
    }
    return false;
  }
}
