/**
 * Credentials of the node as kubelet finds them: its credential provider plugins, with their own configuration and programs. Answers
 * are kept as they say, for an image, a registry, or all images. While a plugin fails, its last answer counts, and it does not run for
 * each read of a device.
 */
import { LRUCache } from 'lru-cache';
import { Limiter } from '../../../base/limiter.ts';
import { coversImage } from '../../config/image-match.ts';
import { type CredentialSource, type DeviceCredential, HUB_NAMES } from './credential-sources.ts';
import type { CredentialPlugin } from './provider-config.ts';
import { type PluginAnswer, type PluginSurroundings, runPlugin } from './run-plugin.ts';

/** Parts and settings of {@link KubeletPlugins}. */
export interface KubeletPluginOptions extends PluginSurroundings {
  readonly plugins: readonly CredentialPlugin[];
  /** Called with each run of a plugin. */
  readonly onRun?: (plugin: string, outcome: 'answered' | 'failed') => void;
  /** Called with each failure; its message has no secret. */
  readonly onFailure?: (error: unknown) => void;
  /** Milliseconds; grows steadily. */
  readonly now?: () => number;
}

/** Plugins that run at a time. */
const CONCURRENCY = 4;
/** Answers that are kept for each plugin. */
const MOST_ANSWERS = 1_000;
/** Milliseconds for which a failure counts. */
const FAILURE_COUNTS = 10_000;

type Auth = PluginAnswer['auth'];

/** An answer, and until when it counts. */
interface KeptAnswer {
  readonly auth: Auth;
  readonly until: number;
}

/** See the head of the file. */
export class KubeletPlugins implements CredentialSource {
  readonly #o: KubeletPluginOptions;
  readonly #now: () => number;
  readonly #limiter = new Limiter(CONCURRENCY);
  readonly #answers: ReadonlyMap<CredentialPlugin, LRUCache<string, KeptAnswer>>;
  /** When a question failed, by plugin and image. */
  readonly #failed = new LRUCache<string, number>({ max: MOST_ANSWERS });
  readonly #running = new Map<string, Promise<Auth | undefined>>();

  constructor(options: KubeletPluginOptions) {
    this.#o = options;
    this.#now = options.now ?? (() => performance.now());
    this.#answers = new Map(options.plugins.map((plugin) => [plugin, new LRUCache({ max: MOST_ANSWERS })]));
  }

  /** The credential for a repository, or for a whole registry where it is empty; undefined where no plugin has one, or all fail. */
  async find(registry: string, repository: string): Promise<DeviceCredential | undefined> {
    // kubelet's name of Docker Hub.
    const host = HUB_NAMES.includes(registry) ? 'docker.io' : registry;
    for (const plugin of this.#o.plugins) {
      if (!plugin.matchImages.some((pattern) => coversImage(pattern, { registry: host, repository }))) continue;
      const auth = await this.#ask(plugin, host, repository);
      const found = auth === undefined ? undefined : credentialIn(auth, host, repository);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  async #ask(plugin: CredentialPlugin, host: string, repository: string): Promise<Auth | undefined> {
    const image = repository === '' ? host : `${host}/${repository}`;
    const keys = { Image: `image ${image}`, Registry: `registry ${host}`, Global: 'all' };
    const kept = Object.values(keys).flatMap((key) => this.#answers.get(plugin)!.get(key) ?? []);
    const good = kept.find(({ until }) => this.#now() < until);
    if (good !== undefined) return good.auth;
    const question = `${plugin.name} ${image}`;
    const last = kept[0]?.auth;
    if (this.#now() - (this.#failed.get(question) ?? Number.NEGATIVE_INFINITY) < FAILURE_COUNTS) return last;
    const running = this.#running.get(question);
    if (running !== undefined) return running;
    const asked = this.#run(plugin, image, keys)
      .catch((error: unknown) => {
        this.#failed.set(question, this.#now());
        this.#o.onRun?.(plugin.name, 'failed');
        this.#o.onFailure?.(error);
        return last;
      })
      .finally(() => this.#running.delete(question));
    this.#running.set(question, asked);
    return asked;
  }

  async #run(
    plugin: CredentialPlugin,
    image: string,
    keys: Readonly<Record<PluginAnswer['cacheKeyType'], string>>,
  ): Promise<Auth> {
    const { auth, cacheKeyType, cacheDuration } = await this.#limiter.run(() => runPlugin(plugin, image, this.#o));
    this.#o.onRun?.(plugin.name, 'answered');
    const lifetime = cacheDuration ?? plugin.defaultCacheDuration;
    if (lifetime > 0) this.#answers.get(plugin)!.set(keys[cacheKeyType], { auth, until: this.#now() + lifetime });
    return auth;
  }
}

/** The credential for an image: of the patterns that cover it, the most exact one first, as in kubelet's keyring. */
function credentialIn(auth: Auth, registry: string, repository: string): DeviceCredential | undefined {
  const [pattern] = Object.keys(auth)
    .filter((one) => coversImage(one, { registry, repository }))
    .sort()
    .reverse();
  return pattern === undefined ? undefined : auth[pattern];
}
