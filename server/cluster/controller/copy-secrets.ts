/**
 * Keeps the copies of pull secrets: `acr-credential-NAME-p2p` beside NAME, with the agents' names for the registries. It follows changes
 * and deletions of both sides, never copies a copy, and never touches a secret that it has not made. A copy that somebody else writes
 * again and again, such as the controller of a second release, is written a few times in a minute and no more. Between two looks it keeps
 * a few strings of each secret and no credentials.
 */
import { createHash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { AccelError, asAccelError } from '../../../base/error.ts';
import { RESOURCES } from '../kube/kube-resources.ts';
import { KubeWatch, type WatchRestart } from '../kube/kube-watch.ts';
import type { KubeClient } from '../kube.ts';
import { copyName, DOCKER_CONFIG_KEY, DOCKER_CONFIG_TYPE, isCopyName } from '../rewrite/pull-secrets.ts';
import { copiedCredentials } from './copied-credentials.ts';
import { type Secret, type SecretScope, SecretWatches } from './secret-watches.ts';
import { WorkQueue } from './work-queue.ts';

/** Label of copies; its value is true. */
export const COPY_LABEL = 'accel.dev/copy';
/** Annotation of copies: the name of the secret that they were made from. */
const COPY_OF = 'accel.dev/copy-of';

/** The outcomes of a look at a secret; labels of a counter. */
export type CopyOutcome = 'made' | 'changed' | 'removed' | 'foreign' | 'failed';

/** Settings of the copies. */
export interface CopyOptions {
  /** The agents' names by the registry's host. */
  readonly hosts: ReadonlyMap<string, string>;
  readonly scope: SecretScope;
  readonly modeLabel: string;
  /** Namespaces that are left alone. */
  readonly excluded: ReadonlySet<string>;
  readonly onOutcome: (outcome: CopyOutcome) => void;
  readonly onRestart: (resource: string, reason: WatchRestart) => void;
  /** Says that a secret cannot be copied. */
  readonly complain: (secret: { readonly namespace: string; readonly name: string }, message: string) => void;
  readonly log: (line: string) => void;
}

/** The little that is kept of a secret. */
interface Known {
  readonly uid: string;
  /** Digest of the credentials: of a copy those that it has, of an original those that its copy should have. */
  readonly digest: string;
  /** Uid of the secret that a copy belongs to; undefined for an original, empty for a secret with a copy's name that is not ours. */
  readonly owner?: string;
}

/** Secrets that are worked on at a time. */
const AT_ONCE = 8;
/** Writes of one content to one copy within {@link CONTEST} milliseconds; more of them mean that somebody else writes it, too. */
const SAME_WRITES = 3;
const CONTEST = 60_000;
const MOST_CONTESTS = 5_000;

/** Keeps the copies until it is closed. */
export class SecretCopies {
  readonly #client: KubeClient;
  readonly #options: CopyOptions;
  readonly #secrets: SecretWatches<Known>;
  readonly #enabled: KubeWatch<true>;
  readonly #queue: WorkQueue;
  /** Digests that were written to copies lately, and how often. */
  readonly #written = new LRUCache<string, { readonly digest: string; readonly times: number }>({
    max: MOST_CONTESTS,
    ttl: CONTEST,
  });

  /** Begins to watch. */
  constructor(client: KubeClient, options: CopyOptions) {
    const { scope, modeLabel, log, onRestart } = options;
    this.#client = client;
    this.#options = options;
    this.#queue = new WorkQueue({
      work: (key, signal) => this.#align(key, signal),
      onFailure: (key, error) => {
        options.onOutcome('failed');
        log(`the copy of the secret ${key} is not in order: ${asAccelError(error).message}`);
      },
      atOnce: AT_ONCE,
    });
    this.#secrets = new SecretWatches(client, {
      scope,
      fieldSelector: `type=${DOCKER_CONFIG_TYPE}`,
      project: (secret) => this.#known(secret),
      onChange: (key) => this.#changed(key),
      onRestart: (reason) => onRestart('secrets', reason),
      log,
    });
    this.#enabled = new KubeWatch(client, {
      resource: RESOURCES.namespaces,
      metadataOnly: true,
      labelSelector: modeLabel,
      project: ({ metadata }) => (asksForAgents(metadata.labels?.[modeLabel]) ? (true as const) : undefined),
      onChange: (namespace) => this.#namespaceChanged(namespace),
      onRestart: (reason) => onRestart('namespaces', reason),
      log,
    });
  }

  /** Why copies may be old; undefined while all is well. */
  get problem(): string | undefined {
    if (!this.#secrets.isSynced || !this.#enabled.isSynced) return 'the secrets are not read yet';
    return this.#secrets.problem ?? this.#enabled.problem;
  }

  /** Secrets that wait to be brought in order. */
  get waiting(): number {
    return this.#queue.size;
  }

  /** Ends it. */
  async close(): Promise<void> {
    await Promise.all([this.#queue.close(), this.#secrets.close(), this.#enabled.close()]);
  }

  #known(secret: Secret): Known | undefined {
    const { namespace = '', name, uid = '', labels, ownerReferences } = secret.metadata;
    if (this.#options.excluded.has(namespace)) return undefined;
    const encoded = secret.data?.[DOCKER_CONFIG_KEY] ?? '';
    if (isCopyName(name)) {
      const isOurs = labels?.[COPY_LABEL] === 'true';
      return { uid, digest: digestOf(encoded), owner: isOurs ? (ownerReferences?.[0]?.uid ?? 'none') : '' };
    }
    const copied = copiedCredentials(Buffer.from(encoded, 'base64').toString('utf8'), this.#options.hosts);
    return copied === undefined ? undefined : { uid, digest: digestOf(Buffer.from(copied).toString('base64')) };
  }

  /** Puts the original that a changed secret is, or is the copy of, into the queue. */
  #changed(key: string): void {
    const [namespace = '', name = ''] = key.split('/');
    const original = originalName(name) ?? name;
    this.#queue.add(`${namespace}/${original}`);
  }

  #namespaceChanged(namespace: string): void {
    for (const [key] of this.#secrets.entries()) if (key.startsWith(`${namespace}/`)) this.#changed(key);
  }

  #isEnabled(namespace: string): boolean {
    return this.#options.scope.namespaces.includes(namespace) || this.#enabled.objects.has(namespace);
  }

  async #align(key: string, signal: AbortSignal): Promise<void> {
    // Before the first lists are complete, what is not known may exist.
    await Promise.all([this.#secrets.synced(signal), this.#enabled.synced(signal)]);
    const [namespace = '', name = ''] = key.split('/');
    const target = copyName(name);
    if (target === undefined) return;
    const original = this.#isEnabled(namespace) ? this.#secrets.get(key) : undefined;
    const copy = this.#secrets.get(`${namespace}/${target}`);
    if (copy?.owner === '') {
      if (original === undefined) return;
      this.#options.onOutcome('foreign');
      this.#options.complain(
        { namespace, name },
        `it has no copy for the agents: the secret ${target} is not of accel`,
      );
      return;
    }
    if (original === undefined) {
      if (copy !== undefined) await this.#remove({ namespace, name: target }, copy, signal);
      return;
    }
    if (copy?.digest === original.digest && copy.owner === original.uid) return;
    const last = this.#written.get(key);
    const times = last?.digest === original.digest ? last.times : 0;
    if (times >= SAME_WRITES) {
      const message = `another program writes its copy ${target}, too: is accel installed twice in this cluster?`;
      this.#options.complain({ namespace, name }, message);
      throw new AccelError('cluster-error', message, { where: { namespace, secret: target } });
    }
    await this.#write({ namespace, name }, target, { copy, signal });
    this.#written.set(key, { digest: original.digest, times: times + 1 });
  }

  async #remove(key: { readonly namespace: string; readonly name: string }, copy: Known, signal: AbortSignal) {
    const removed = await this.#client.remove(RESOURCES.secrets, key, { uid: copy.uid, signal });
    if (removed) this.#options.onOutcome('removed');
  }

  async #write(
    { namespace, name }: { readonly namespace: string; readonly name: string },
    target: string,
    { copy, signal }: { readonly copy: Known | undefined; readonly signal: AbortSignal },
  ): Promise<void> {
    const original = await this.#client.find<Secret>(RESOURCES.secrets, { namespace, name }, { signal });
    const text = Buffer.from(original?.data?.[DOCKER_CONFIG_KEY] ?? '', 'base64').toString('utf8');
    const copied = copiedCredentials(text, this.#options.hosts);
    // Gone or changed since: the watch brings the key back.
    if (original === undefined || copied === undefined) return;
    const wanted = this.#copyOf(original, target, copied);
    if (copy === undefined) {
      await this.#client.create(RESOURCES.secrets, wanted, { signal });
      this.#options.onOutcome('made');
      return;
    }
    const present = await this.#client.find<Secret>(RESOURCES.secrets, { namespace, name: target }, { signal });
    if (present?.metadata.labels?.[COPY_LABEL] !== 'true' || present.type !== DOCKER_CONFIG_TYPE) {
      throw new AccelError('cluster-error', 'the copy has changed meanwhile', { where: { namespace, secret: target } });
    }
    const { resourceVersion = '', uid = '' } = present.metadata;
    await this.#client.replace(
      RESOURCES.secrets,
      { ...wanted, metadata: { ...wanted.metadata, resourceVersion, uid } },
      { signal },
    );
    this.#options.onOutcome('changed');
  }

  #copyOf({ metadata }: Secret, name: string, copied: string): Secret {
    const { namespace = '', uid = '' } = metadata;
    return {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: {
        namespace,
        name,
        labels: { [COPY_LABEL]: 'true', 'app.kubernetes.io/managed-by': 'accel' },
        annotations: { [COPY_OF]: metadata.name },
        // The garbage collector takes the copy away with the original, also while no controller runs.
        ownerReferences: [{ apiVersion: 'v1', kind: 'Secret', name: metadata.name, uid }],
      },
      type: DOCKER_CONFIG_TYPE,
      data: { [DOCKER_CONFIG_KEY]: Buffer.from(copied).toString('base64') },
    };
  }
}

/** Whether the value of the mode's label asks for images through the agents. */
function asksForAgents(value: string | undefined): boolean {
  return value?.split('.').includes('p2p') === true;
}

/** The name of the secret that a copy is of, by the copy's name. */
function originalName(name: string): string | undefined {
  return /^acr-credential-(.+)-p2p$/.exec(name)?.[1];
}

function digestOf(text: string): string {
  return createHash('sha256').update(text).digest('base64url');
}
