/**
 * Asks for an agent's certificate by a CertificateSigningRequest of Kubernetes, which the controller answers. The API server says in it
 * who asks: which service account, in which pod. main.ts hands this to the agent.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { AccelError, asAccelError } from '../../base/error.ts';
import { kubeAccess } from './kube/kube-access.ts';
import { isKubeError } from './kube/kube-error.ts';
import { RESOURCES } from './kube/kube-resources.ts';
import { KubeClient } from './kube.ts';
import { type SigningRequestObject, USAGES } from './signing-requests.ts';

/** Settings of {@link CertificateRequests}. */
export interface CertificateRequestOptions {
  /** Way to the API; the pod's service account unless given. */
  readonly kubeconfig: string | undefined;
  /** Name of the signer, `DOMAIN/NAME`. */
  readonly signer: string;
  readonly log: (line: string) => void;
}

/** Milliseconds: the first wait for an answer or after a failure, and the longest: a thousand agents may wait for a controller. */
const FIRST_WAIT = 200;
const LONGEST_WAIT = 30_000;
/** Beginning of the names of the requests. */
const PREFIX = 'accel-agent-';

/** See the head of the file. */
export class CertificateRequests {
  /** For messages and the log. */
  readonly name: string;
  readonly #client: KubeClient;
  readonly #o: CertificateRequestOptions;

  private constructor(client: KubeClient, options: CertificateRequestOptions) {
    this.name = `the signer ${options.signer}`;
    this.#client = client;
    this.#o = options;
  }

  /** Opens it; it connects with the first request. Throws `usage` where there is no way to the API. */
  static async open(options: CertificateRequestOptions): Promise<CertificateRequests> {
    return new CertificateRequests(await KubeClient.open(await kubeAccess(options.kubeconfig)), options);
  }

  /**
   * The certificate for a request in PEM, and the authorities to trust. Waits for as long as there is no answer, by one object: objects
   * that nobody answers must not become many. Rejects with `cluster-error` when it is refused, or with the signal's reason.
   */
  async issue(request: string, signal: AbortSignal): Promise<{ readonly cert: string; readonly ca: string }> {
    const made = await this.#create(request, signal);
    const { name } = made.metadata;
    for (let wait = FIRST_WAIT; ; wait = Math.min(wait * 1.5, LONGEST_WAIT)) {
      await delay(wait / 2 + (Math.random() * wait) / 2, undefined, { signal }).catch(() => signal.throwIfAborted());
      const found = await this.#look(name, signal);
      if (found === undefined) continue;
      const refused = found.status?.conditions?.find(({ type }) => type === 'Denied' || type === 'Failed');
      if (refused !== undefined) {
        throw new AccelError(
          'cluster-error',
          `the request ${name} was refused: ${refused.message ?? refused.reason ?? ''}`,
        );
      }
      const text = Buffer.from(found.status?.certificate ?? '', 'base64').toString('utf8');
      const [cert, ...authorities] = text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
      if (cert !== undefined) return { cert: `${cert}\n`, ca: authorities.map((one) => `${one}\n`).join('') };
    }
  }

  /** Closes the connections. */
  close(): Promise<void> {
    return this.#client.close();
  }

  #create(request: string, signal: AbortSignal): Promise<SigningRequestObject> {
    const object: SigningRequestObject = {
      apiVersion: 'certificates.k8s.io/v1',
      kind: 'CertificateSigningRequest',
      metadata: { generateName: PREFIX } as SigningRequestObject['metadata'],
      spec: {
        request: Buffer.from(request).toString('base64'),
        signerName: this.#o.signer,
        usages: USAGES,
      },
    };
    return this.#client.create(RESOURCES.signingRequests, object, { signal });
  }

  /** The object; undefined while the API does not answer. Throws where it is gone. */
  async #look(name: string, signal: AbortSignal): Promise<SigningRequestObject | undefined> {
    try {
      return await this.#client.get<SigningRequestObject>(RESOURCES.signingRequests, { name }, { signal });
    } catch (error) {
      if (signal.aborted || isKubeError(error, 'NotFound', 'Forbidden')) throw error;
      this.#o.log(
        `the request ${name} for a certificate cannot be read, and is read again: ${asAccelError(error).message}`,
      );
      return undefined;
    }
  }
}
