/** Pulls the images of pods as kubelet does: with the pod's own secrets, again and again until it works. */
import { setTimeout as delay } from 'node:timers/promises';
import { asAccelError } from '../../../base/error.ts';
import type { Secret } from '../controller/secret-watches.ts';
import { type KubeObject, RESOURCES } from '../kube/kube-resources.ts';
import type { KubeClient } from '../kube.ts';
import { parseImageName } from '../rewrite/image-name.ts';
import type { Pod } from '../rewrite/pod.ts';
import { DOCKER_CONFIG_KEY } from '../rewrite/pull-secrets.ts';

/** A pod as the API has stored it. */
export type StoredPod = KubeObject & Pod;

/** Milliseconds between two tries, and for one. */
const TRY_EVERY = 300;
const TRY_TIME = 5_000;
const MANIFESTS = 'application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json';

/** Pulls until it is closed. */
export class ChaosKubelet {
  readonly #client: KubeClient;
  readonly #stop = new AbortController();
  readonly #pulls = new Set<Promise<void>>();
  /** Last failure, by pod. */
  readonly #failing = new Map<string, string>();
  #pulled = 0;
  readonly #refusals: string[] = [];
  #longest = 0;

  constructor(client: KubeClient) {
    this.#client = client;
  }

  /** Pods whose images are here; answers that said no at first, one a pod; and the longest time until an image was here, in milliseconds. */
  get figures(): { readonly pulled: number; readonly refusals: readonly string[]; readonly longest: number } {
    return { pulled: this.#pulled, refusals: this.#refusals, longest: this.#longest };
  }

  /** Pods that cannot be pulled yet: the last failure by NAMESPACE/NAME and image. */
  get failing(): ReadonlyMap<string, string> {
    return this.#failing;
  }

  /** Begins to pull the images of a pod. */
  add(pod: StoredPod): void {
    const pulling = this.#run(pod).finally(() => this.#pulls.delete(pulling));
    this.#pulls.add(pulling);
  }

  /** Ends all pulls. */
  async close(): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#pulls);
  }

  async #run(pod: StoredPod): Promise<void> {
    const { namespace, name } = pod.metadata;
    const images = (pod.spec.containers ?? []).flatMap(({ image }) => (image === undefined ? [] : [image]));
    const key = `${namespace}/${name} ${images.join(' ')}`;
    const started = performance.now();
    this.#failing.set(key, 'not tried yet');
    let wasRefused = false;
    while (!this.#stop.signal.aborted) {
      try {
        const auths = await this.#auths(pod);
        for (const image of images) await pullImage(image, auths);
        this.#failing.delete(key);
        this.#pulled += 1;
        this.#longest = Math.max(this.#longest, performance.now() - started);
        return;
      } catch (error) {
        const { message } = asAccelError(error);
        this.#failing.set(key, message);
        if (error instanceof Refusal && !wasRefused) {
          wasRefused = true;
          this.#refusals.push(`${key}: ${message}`);
        }
      }
      await delay(TRY_EVERY, undefined, { signal: this.#stop.signal }).catch(() => undefined);
    }
  }

  /** The logins of a pod's secrets, by host; secrets that do not exist are passed over. */
  async #auths({ metadata: { namespace }, spec }: StoredPod): Promise<Readonly<Record<string, string>>> {
    const auths: Record<string, string> = {};
    for (const { name = '' } of spec.imagePullSecrets ?? []) {
      const secret = await this.#client.find<Secret>(RESOURCES.secrets, { namespace, name });
      const text = Buffer.from(secret?.data?.[DOCKER_CONFIG_KEY] ?? '', 'base64').toString('utf8');
      if (text === '') continue;
      const config = JSON.parse(text) as { readonly auths: Readonly<Record<string, { readonly auth: string }>> };
      for (const [host, { auth }] of Object.entries(config.auths)) auths[host] ??= auth;
    }
    return auths;
  }
}

/** An answer that says no. */
class Refusal extends Error {}

/** Pulls manifest and config of an image over plain HTTP. Throws where either does not come. */
async function pullImage(text: string, auths: Readonly<Record<string, string>>): Promise<void> {
  const image = parseImageName(text);
  if (image === undefined) throw new Error(`${text} is no image`);
  const { registry, repository, tag = 'latest', digest } = image;
  const auth = auths[registry];
  const headers = { accept: MANIFESTS, ...(auth === undefined ? {} : { authorization: `Basic ${auth}` }) };
  const get = async (path: string): Promise<string> => {
    const url = `http://${registry}/v2/${repository}/${path}`;
    const answer = await fetch(url, { headers, signal: AbortSignal.timeout(TRY_TIME) });
    const body = await answer.text();
    if (answer.ok) return body;
    const message = `${url} answers ${answer.status}: ${body.slice(0, 200)}`;
    throw answer.status < 500 ? new Refusal(message) : new Error(message);
  };
  const manifest = JSON.parse(await get(`manifests/${digest ?? tag}`)) as {
    readonly config: { readonly digest: string };
  };
  await get(`blobs/${manifest.config.digest}`);
}
