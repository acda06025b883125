/**
 * Gathers the secrets that are labelled for lazily loaded devices into one secret of the release's namespace, which the agents' pods
 * mount: so nodes need no permission to read secrets. An entry goes when its secret or the label goes.
 */
import { asAccelError } from '../../../base/error.ts';
import { isRecord } from '../../../base/is-record.ts';
import { registryKey } from '../../config/image-match.ts';
import { RESOURCES } from '../kube/kube-resources.ts';
import type { WatchRestart } from '../kube/kube-watch.ts';
import type { KubeClient } from '../kube.ts';
import { DOCKER_CONFIG_KEY, DOCKER_CONFIG_TYPE } from '../rewrite/pull-secrets.ts';
import { dockerConfigOf } from './copied-credentials.ts';
import { type Secret, type SecretScope, SecretWatches } from './secret-watches.ts';
import { WorkQueue } from './work-queue.ts';

/** Settings of the gathered secret. */
export interface DeviceSecretOptions {
  readonly scope: SecretScope;
  /** Label of the secrets; its value is true. */
  readonly label: string;
  /** The secret that is written. */
  readonly target: { readonly namespace: string; readonly name: string };
  readonly onOutcome: (outcome: 'written' | 'failed') => void;
  readonly onRestart: (resource: string, reason: WatchRestart) => void;
  /** Says that an entry of a secret is not used. */
  readonly complain: (secret: { readonly namespace: string; readonly name: string }, message: string) => void;
  readonly log: (line: string) => void;
}

/** Entries by registry, of one labelled secret. */
type Entries = ReadonlyMap<string, unknown>;

/** Label of the secret that is written, by which nobody takes it for a person's. */
const MANAGED = { 'app.kubernetes.io/managed-by': 'accel' };
const KEY = 'devices';
/** Most bytes of the document: etcd takes 1.5 MiB, base64 makes four of three. */
const MAX_DOCUMENT = 1_000_000;
/** Most bytes of the entries of one secret, so that no namespace uses up what the others need. */
const MAX_ENTRIES = 65_536;

/** Keeps the gathered secret until it is closed. */
export class DeviceSecret {
  readonly #client: KubeClient;
  readonly #options: DeviceSecretOptions;
  readonly #secrets: SecretWatches<Entries>;
  readonly #queue: WorkQueue;

  /** Begins to watch. */
  constructor(client: KubeClient, options: DeviceSecretOptions) {
    const { scope, label, onRestart, onOutcome, log, target } = options;
    this.#client = client;
    this.#options = options;
    this.#queue = new WorkQueue({
      work: (_, signal) => this.#write(signal),
      onFailure: (_, error) => {
        onOutcome('failed');
        log(`the secret ${target.name} of the devices is not written: ${asAccelError(error).message}`);
      },
      atOnce: 1,
    });
    this.#secrets = new SecretWatches(client, {
      scope,
      labelSelector: `${label}=true`,
      project: (secret) => this.#entries(secret),
      onChange: () => this.#queue.add(KEY),
      onRestart: (reason) => onRestart('secrets', reason),
      log,
    });
    // Without a labelled secret there is no change, and one that was written before has to be emptied.
    this.#queue.add(KEY);
  }

  /** Why the secret may be old. */
  get problem(): string | undefined {
    return this.#secrets.isSynced ? this.#secrets.problem : 'the labelled secrets are not read yet';
  }

  /** Ends it. */
  async close(): Promise<void> {
    await Promise.all([this.#queue.close(), this.#secrets.close()]);
  }

  #entries({ metadata, type, data }: Secret): Entries {
    const { namespace = '', name } = metadata;
    const text = Buffer.from(data?.[DOCKER_CONFIG_KEY] ?? '', 'base64').toString('utf8');
    const config = type === DOCKER_CONFIG_TYPE ? dockerConfigOf(text) : undefined;
    const entries = new Map(Object.entries(config?.auths ?? {}).filter(([, value]) => isRecord(value)));
    const bytes = bytesOf(entries);
    if (config !== undefined && bytes <= MAX_ENTRIES) return entries;
    const problem =
      config === undefined
        ? `it is no secret of type ${DOCKER_CONFIG_TYPE}`
        : `its entries have ${bytes} bytes, and ${MAX_ENTRIES} are the most of one secret`;
    this.#options.complain({ namespace, name }, `devices cannot read with it: ${problem}`);
    return new Map();
  }

  async #write(signal: AbortSignal): Promise<void> {
    await this.#secrets.synced(signal);
    const text = JSON.stringify({ auths: Object.fromEntries(this.#gathered()) });
    const { target, onOutcome } = this.#options;
    const data = { [DOCKER_CONFIG_KEY]: Buffer.from(text).toString('base64') };
    const present = await this.#client.find<Secret>(RESOURCES.secrets, target, { signal });
    if (present === undefined) {
      const secret = {
        apiVersion: 'v1',
        kind: 'Secret',
        metadata: { ...target, labels: MANAGED },
        // No registry's secret by its type: no kubelet pulls with it, and no controller copies it.
        type: 'Opaque',
      };
      await this.#client.create(RESOURCES.secrets, { ...secret, data }, { signal });
    } else if (present.data?.[DOCKER_CONFIG_KEY] !== data[DOCKER_CONFIG_KEY]) {
      await this.#client.replace(RESOURCES.secrets, { ...present, data }, { signal });
    } else return;
    onOutcome('written');
  }

  /** The entries by registry, in the order of their keys; of two secrets for one registry the first by namespace and name counts. */
  #gathered(): readonly (readonly [string, unknown])[] {
    const gathered = new Map<string, unknown>();
    const owners = new Map<string, string>();
    let bytes = 0;
    for (const [secret, entries] of [...this.#secrets.entries()].sort(([a], [b]) => (a < b ? -1 : 1))) {
      bytes += bytesOf(entries);
      // The others stay in step: what a person has taken away must go, however much is left.
      if (bytes > MAX_DOCUMENT) {
        bytes -= bytesOf(entries);
        const [namespace = '', name = ''] = secret.split('/');
        this.#options.complain(
          { namespace, name },
          `devices cannot read with it: the secrets before it fill the ${MAX_DOCUMENT} bytes of all`,
        );
        continue;
      }
      for (const [key, value] of entries) {
        const { host, path } = registryKey(key);
        const place = path === '' ? host : `${host}/${path}`;
        const owner = owners.get(place);
        if (owner === undefined) {
          gathered.set(place, value);
          owners.set(place, secret);
        } else if (JSON.stringify(gathered.get(place)) !== JSON.stringify(value)) {
          const [namespace = '', name = ''] = secret.split('/');
          this.#options.complain(
            { namespace, name },
            `devices read from ${place} with the secret ${owner}, not with this one`,
          );
        }
      }
    }
    return [...gathered].sort(([a], [b]) => (a < b ? -1 : 1));
  }
}

/** Bytes of entries in a document. */
function bytesOf(entries: Entries): number {
  let bytes = 0;
  for (const [key, value] of entries) bytes += Buffer.byteLength(JSON.stringify({ [key]: value }));
  return bytes;
}
