/**
 * A source of certificates that makes them itself. Each replica of the webhook keeps one Secret up to date; whoever writes first wins
 * by the Secret's resourceVersion, and the others take over what it wrote. API servers know an authority before a certificate of it is
 * served: the bundle is patched first, and a new authority's certificate waits until their caches have it.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { AccelError, asAccelError } from '../../../base/error.ts';
import { hideSecret } from '../../../base/secrets.ts';
import type { CertificateSource, ServerCertificate } from '../admission/serve-admission.ts';
import { isKubeError } from '../kube/kube-error.ts';
import { type KubeObject, RESOURCES, type Resource } from '../kube/kube-resources.ts';
import { KubeWatch } from '../kube/kube-watch.ts';
import type { KubeClient } from '../kube.ts';
import {
  bundleText,
  type CertificateState,
  endOf,
  nextRenewal,
  readState,
  renewed,
  type SecretData,
  writeState,
} from './certificate-state.ts';
import { hasNoBundle, hostsOf, patchBundle, type WebhookConfiguration } from './webhook-bundle.ts';

/** Settings of {@link SelfCertificates}. */
export interface SelfCertificateOptions {
  readonly namespace: string;
  /** Name of the Secret. */
  readonly secret: string;
  /** Name of the MutatingWebhookConfiguration. */
  readonly webhook: string;
  /** Milliseconds for which a certificate, and an authority, holds. */
  readonly lifetime: number;
  readonly authorityLifetime: number;
  readonly log: (line: string) => void;
  /** Called when it cannot do its work, with the reason, and when it can again. */
  readonly onProblem?: (reason: string | undefined) => void;
  readonly onRestart?: (resource: string, reason: string) => void;
  /** Milliseconds in which API servers learn of a new authority; five seconds unless given. */
  readonly settle?: number;
}

interface StoredSecret extends KubeObject {
  readonly type?: string;
  readonly data?: SecretData;
}

const SETTLE = 5_000;
/** Milliseconds: the first wait after a failure, and the longest, also where nothing is due: clocks may be set. */
const FIRST_WAIT = 500;
const LONGEST_WAIT = 60_000;
/** Milliseconds by which the replicas' renewals lie apart, at most, so that one of them usually finds the other's. */
const SPREAD = 1_000;

/** See the head of the file. */
export class SelfCertificates implements CertificateSource {
  readonly #client: KubeClient;
  readonly #o: SelfCertificateOptions;
  readonly #listeners: ((certificate: ServerCertificate) => void)[] = [];
  readonly #watches: readonly KubeWatch<string>[];
  readonly #stop = new AbortController();
  readonly #done: Promise<void>;
  readonly #waiting: (() => void)[] = [];
  #served: CertificateState | undefined;
  #changed = false;
  #wake: () => void = () => undefined;
  #problem: string | undefined;

  /** Starts it; it has certificates when {@link ready} resolves. */
  constructor(client: KubeClient, options: SelfCertificateOptions) {
    this.#client = client;
    this.#o = options;
    const { namespace, secret, webhook } = options;
    this.#watches = [
      this.#watch(RESOURCES.secrets, secret, namespace),
      this.#watch(RESOURCES.webhookConfigurations, webhook),
    ];
    this.#done = this.#run();
  }

  /** The certificate to serve. Throws before {@link ready} has resolved. */
  get current(): ServerCertificate {
    if (this.#served === undefined) throw new AccelError('internal', 'the webhook has no certificate yet');
    return this.#served.leaf;
  }

  /** Why nothing can be renewed now; undefined while it can. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** Resolves when there is a certificate that API servers trust. Rejects with the signal's reason. */
  async ready(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.#served !== undefined) return;
    await new Promise<void>((resolve, reject) => {
      const end = () => reject(signal.reason as Error);
      signal.addEventListener('abort', end, { once: true });
      this.#waiting.push(() => {
        signal.removeEventListener('abort', end);
        resolve();
      });
    });
  }

  /** Registers a function that is called with each new certificate. */
  onChange(listener: (certificate: ServerCertificate) => void): void {
    this.#listeners.push(listener);
  }

  /** Ends it. */
  async close(): Promise<void> {
    this.#stop.abort();
    this.#wake();
    await Promise.all([this.#done, ...this.#watches.map((watch) => watch.close())]);
  }

  /** Looks again when an object changes; what is in it is read then. */
  #watch(resource: Resource, name: string, namespace?: string): KubeWatch<string> {
    return new KubeWatch(this.#client, {
      resource,
      namespace,
      fieldSelector: `metadata.name=${name}`,
      metadataOnly: true,
      project: ({ metadata }) => metadata.resourceVersion ?? '',
      onChange: (_, now, before) => {
        if (now === before) return;
        this.#changed = true;
        this.#wake();
      },
      onRestart: (reason) => this.#o.onRestart?.(resource.plural, reason),
      log: this.#o.log,
    });
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    let failures = 0;
    while (!signal.aborted) {
      this.#changed = false;
      try {
        const due = await this.#step(signal);
        failures = 0;
        this.#report(undefined);
        await this.#sleep(due - Date.now() + Math.random() * Math.min(SPREAD, this.#o.lifetime / 20));
      } catch (error) {
        if (signal.aborted) return;
        failures += 1;
        // Another replica, or Helm, was faster: what it wrote is read at once, but never in a loop.
        const isRace = isKubeError(error, 'Conflict', 'AlreadyExists');
        if (!isRace) this.#report(asAccelError(error).message);
        const wait = Math.min((isRace ? FIRST_WAIT / 10 : FIRST_WAIT) * 2 ** (failures - 1), LONGEST_WAIT);
        await this.#sleep(wait / 2 + (Math.random() * wait) / 2);
      }
    }
  }

  /** Brings Secret, bundle and what is served up to date; when to look again, in milliseconds since 1970. */
  async #step(signal: AbortSignal): Promise<number> {
    const { webhook, lifetime, authorityLifetime } = this.#o;
    // The configuration is read before the Secret: a patch with a bundle older than the Secret's then fails as a conflict.
    const configuration = await this.#client.find<WebhookConfiguration>(
      RESOURCES.webhookConfigurations,
      { name: webhook },
      { signal },
    );
    const hosts = configuration === undefined ? [] : hostsOf(configuration);
    if (configuration === undefined || hosts.length === 0) {
      // It goes before the webhook when accel is uninstalled.
      throw new AccelError('cluster-error', `the MutatingWebhookConfiguration ${webhook} does not exist`, {
        where: { key: 'cluster.admission.certificate.webhook' },
      });
    }
    const { state, isNew } = await this.#stored({ hosts, lifetime, authorityLifetime }, signal);
    const isFirst = hasNoBundle(configuration);
    const isPatched = await patchBundle(this.#client, configuration, bundleText(state.bundle), { signal });
    if (isPatched) this.#o.log(`the MutatingWebhookConfiguration ${webhook} has ${countOf(state)}`);
    await this.#serve(state, { isNew, isUnknown: isPatched && !isFirst }, signal);
    return nextRenewal(state);
  }

  /** The certificates of the Secret, after what is due was renewed. */
  async #stored(
    wishes: { readonly hosts: readonly string[]; readonly lifetime: number; readonly authorityLifetime: number },
    signal: AbortSignal,
  ): Promise<{ readonly state: CertificateState; readonly isNew: boolean }> {
    const { namespace, secret: name } = this.#o;
    const secret = await this.#client.find<StoredSecret>(RESOURCES.secrets, { namespace, name }, { signal });
    const found = readState(secret?.data);
    if (found === undefined && Object.keys(secret?.data ?? {}).length > 0)
      this.#o.log(`the Secret ${name} holds no certificates that belong together: they are made again`);
    // Where somebody emptied it, it gets back what is served.
    const before = found ?? this.#served;
    const wanted = await renewed(before, wishes, Date.now());
    const state = wanted ?? before!;
    if (wanted === undefined && found !== undefined) return { state, isNew: false };
    for (const { key } of [state.authority, state.leaf]) hideSecret(key);
    const content: StoredSecret = {
      ...(secret ?? { apiVersion: 'v1', kind: 'Secret', type: 'Opaque', metadata: { name, namespace } }),
      data: writeState(state),
    };
    if (secret === undefined) await this.#client.create(RESOURCES.secrets, content, { signal });
    else await this.#client.replace(RESOURCES.secrets, content, { signal });
    return { state, isNew: true };
  }

  async #serve(
    state: CertificateState,
    { isNew, isUnknown }: { readonly isNew: boolean; readonly isUnknown: boolean },
    signal: AbortSignal,
  ): Promise<void> {
    const before = this.#served;
    if (before?.leaf.cert === state.leaf.cert) {
      this.#served = state;
      return;
    }
    for (const { key } of [state.authority, state.leaf]) hideSecret(key);
    const isOtherAuthority = before !== undefined && before.authority.cert !== state.authority.cert;
    if (isOtherAuthority || isUnknown) await delay(this.#o.settle ?? SETTLE, undefined, { signal });
    this.#served = state;
    const end = new Date(endOf(state.leaf.cert)).toISOString();
    this.#o.log(`the webhook's certificate was ${isNew ? 'made' : 'taken from the Secret'}; it ends at ${end}`);
    for (const listener of this.#listeners) listener(state.leaf);
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  #report(problem: string | undefined): void {
    if (problem === this.#problem) return;
    this.#problem = problem;
    this.#o.log(
      problem === undefined ? 'certificates are renewed again' : `certificates cannot be renewed: ${problem}`,
    );
    this.#o.onProblem?.(problem);
  }

  /** Waits, but not past a change of the Secret or the configuration. */
  async #sleep(wait: number): Promise<void> {
    if (this.#changed || this.#stop.signal.aborted) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, Math.min(Math.max(wait, 0), LONGEST_WAIT));
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

function countOf({ bundle }: CertificateState): string {
  return bundle.length === 1
    ? 'the authority of its certificate'
    : `${bundle.length} authorities, the old ones until they end`;
}
