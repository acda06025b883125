/**
 * Signs the certificates of agents. A request says which node it is for; the API server says which pod asks, by its bound token. Only a pod
 * of the agents' service account gets a certificate, and only for an address of the node that it runs on. The names of the certificate are
 * written here; of the request, its key alone is used.
 */
import { isIP } from 'node:net';
import { AccelError, asAccelError } from '../../../base/error.ts';
import { signCertificate } from '../../certificates/authority.ts';
import { type ReadRequest, readSigningRequest } from '../../certificates/signing-request.ts';
import { isKubeError } from '../kube/kube-error.ts';
import { type KubeObject, RESOURCES } from '../kube/kube-resources.ts';
import { KubeWatch, type WatchRestart } from '../kube/kube-watch.ts';
import type { KubeClient } from '../kube.ts';
import type { RequestCondition, SigningRequestObject } from '../signing-requests.ts';
import { AgentsAuthority, type Lifetimes, leafLife, signerOf } from './agents-authority.ts';
import { WorkQueue } from './work-queue.ts';

/** Settings of {@link AgentSigner}. */
export interface AgentSignerOptions {
  /** Namespace of the agents' pods and of the Secret. */
  readonly namespace: string;
  /** Name of the signer, `DOMAIN/NAME`. */
  readonly signer: string;
  /** Service account of the agents. */
  readonly account: string;
  /** Secret of the authority, and whether the controller makes it. */
  readonly secret: string;
  readonly renews: boolean;
  readonly lifetimes: Lifetimes;
  readonly onOutcome: (outcome: 'signed' | 'denied' | 'failed') => void;
  readonly onRestart: (resource: string, reason: WatchRestart) => void;
  readonly log: (line: string) => void;
}

/** A pod, as far as it is read. */
interface Pod extends KubeObject {
  readonly spec?: { readonly nodeName?: string; readonly serviceAccountName?: string };
  readonly status?: { readonly hostIP?: string; readonly hostIPs?: readonly { readonly ip?: string }[] };
}

/** A node, as far as it is read. */
interface Node extends KubeObject {
  readonly status?: { readonly addresses?: readonly { readonly address?: string }[] };
}

/** A request is refused for this reason. */
class Refusal extends Error {}

const AT_ONCE = 4;
/** Longest request in base64; the rest of a longer one is not kept. */
const MAX_REQUEST = 16_384;
/** Keys of `spec.extra` (k8s.io/apiserver, pkg/authentication/serviceaccount). */
const POD_NAME = 'authentication.kubernetes.io/pod-name';
const POD_UID = 'authentication.kubernetes.io/pod-uid';
const URI = 'accel-agent:';
/** Milliseconds between two looks at whether an authority is due. */
const LOOK_EVERY = 3_600_000;

/** Answers requests until it is closed. */
export class AgentSigner {
  readonly #client: KubeClient;
  readonly #o: AgentSignerOptions;
  readonly #authority: AgentsAuthority;
  readonly #nodes: KubeWatch<readonly string[]>;
  readonly #requests: KubeWatch<SigningRequestObject>;
  readonly #queue: WorkQueue;
  readonly #timer: NodeJS.Timeout;
  #failure: string | undefined;

  /** Begins to watch. */
  constructor(client: KubeClient, options: AgentSignerOptions) {
    const { signer, onRestart, log } = options;
    this.#client = client;
    this.#o = options;
    this.#authority = new AgentsAuthority(client, options);
    this.#queue = new WorkQueue({
      work: (name, signal) => (name === '' ? this.#prepare(signal) : this.#answer(name, signal)),
      onFailure: (name, error) => this.#failed(name, error),
      atOnce: AT_ONCE,
    });
    this.#nodes = new KubeWatch(client, {
      resource: RESOURCES.nodes,
      project: ({ status }: Node): readonly string[] =>
        (status?.addresses ?? []).flatMap(({ address }) => address ?? []),
      onRestart: (reason) => onRestart('nodes', reason),
      log,
    });
    this.#requests = new KubeWatch(client, {
      resource: RESOURCES.signingRequests,
      fieldSelector: `spec.signerName=${signer}`,
      project: (object) => {
        const request = object as SigningRequestObject;
        return isOpen(request) ? shortened(request) : undefined;
      },
      onChange: (name, now) => {
        if (now !== undefined) this.#queue.add(name);
      },
      onRestart: (reason) => onRestart('certificatesigningrequests', reason),
      log,
    });
    // The authority is there before the first agent asks, and renewed while none does.
    this.#queue.add('');
    this.#timer = setInterval(() => this.#queue.add(''), LOOK_EVERY).unref();
  }

  /** Requests without an answer. */
  get waiting(): number {
    return this.#requests.objects.size;
  }

  /** When the authority that signs ends, in milliseconds since 1970; 0 while it is not known. */
  get authorityEnd(): number {
    return this.#authority.end;
  }

  /** Why agents get no certificates. */
  get problem(): string | undefined {
    const reason = this.#failure ?? this.#requests.problem ?? this.#nodes.problem;
    return reason === undefined ? undefined : `certificates of agents: ${reason}`;
  }

  /** Ends it. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    await Promise.all([this.#queue.close(), this.#requests.close(), this.#nodes.close()]);
  }

  async #prepare(signal: AbortSignal): Promise<void> {
    await this.#authority.current(signal);
    this.#failure = undefined;
  }

  #failed(name: string, error: unknown): void {
    const { onOutcome, log } = this.#o;
    const { message } = asAccelError(error);
    if (isKubeError(error, 'Conflict')) return;
    this.#failure = message;
    if (name !== '') onOutcome('failed');
    log(name === '' ? `the authority of the agents: ${message}` : `the request ${name} is not signed yet: ${message}`);
  }

  async #answer(name: string, signal: AbortSignal): Promise<void> {
    const request = this.#requests.objects.get(name);
    // It went meanwhile, or another one answered it.
    if (request === undefined) return;
    const { log, onOutcome } = this.#o;
    try {
      const { node, publicKey } = await this.#check(request, signal);
      const certificate = await this.#sign(node, publicKey, signal);
      await this.#write(
        request,
        { type: 'Approved', reason: 'OwnNode', message: `the agent of ${node}` },
        { certificate, signal },
      );
      onOutcome('signed');
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      log(`the request ${name} of ${request.spec.username ?? 'nobody'} is refused: ${error.message}`);
      await this.#write(request, { type: 'Denied', reason: 'NotOwnNode', message: error.message }, { signal });
      onOutcome('denied');
    }
    this.#failure = undefined;
  }

  /** The node that a request is for, and its key. Throws a {@link Refusal} for one that nobody may have. */
  async #check({ spec }: SigningRequestObject, signal: AbortSignal): Promise<{ readonly node: string } & ReadRequest> {
    const { namespace, account } = this.#o;
    if (spec.username !== `system:serviceaccount:${namespace}:${account}`) {
      throw new Refusal(`only the service account ${account} of ${namespace} gets one`);
    }
    const [podName] = spec.extra?.[POD_NAME] ?? [];
    const [podUid] = spec.extra?.[POD_UID] ?? [];
    if (podName === undefined || podUid === undefined) throw new Refusal('the token is bound to no pod');
    const read = await readSigningRequest(Buffer.from(spec.request, 'base64').toString('utf8')).catch(
      (error: unknown) => {
        throw new Refusal(`${asAccelError(error).message}: ${String(asAccelError(error).details.found)}`);
      },
    );
    const [uri = '', ...more] = read.uris;
    const node = uri.startsWith(URI) ? uri.slice(URI.length) : '';
    const address = addressOf(node);
    if (address === undefined || more.length > 0) throw new Refusal('it does not name one node, accel-agent:IP:PORT');
    const pod = await this.#client.find<Pod>(RESOURCES.pods, { namespace, name: podName }, { signal });
    if (pod === undefined || pod.metadata.uid !== podUid) throw new Refusal('the pod that asked is gone');
    if (pod.spec?.serviceAccountName !== account) throw new Refusal('the pod that asked has another service account');
    const { hostIP, hostIPs = [] } = pod.status ?? {};
    if (hostIP !== address && !hostIPs.some(({ ip }) => ip === address)) {
      throw new Refusal(`${address} is no address of the node of the pod ${podName}`);
    }
    await this.#nodes.synced(signal);
    const owners = [...this.#nodes.objects]
      .filter(([, addresses]) => addresses.includes(address))
      .map(([name]) => name);
    // A kubelet writes its own addresses: one that takes those of another node must not become that node.
    if (owners.length !== 1 || owners[0] !== pod.spec.nodeName) {
      throw new Refusal(
        `${address} is an address of ${owners.length === 0 ? 'no node' : owners.slice(0, 3).join(' and ')}`,
      );
    }
    return { node, ...read };
  }

  /** The certificate and the authorities to trust, as PEM. */
  async #sign(node: string, publicKey: ReadRequest['publicKey'], signal: AbortSignal): Promise<string> {
    const { lifetimes } = this.#o;
    const authorities = await this.#authority.current(signal);
    const now = Date.now();
    const signer = signerOf(authorities, lifetimes, now);
    if (signer === undefined) throw new AccelError('cluster-error', 'there is no authority of agents');
    const cert = await signCertificate(signer, publicKey, {
      name: `accel agent ${node}`,
      hosts: [addressOf(node)!],
      uris: [`${URI}${node}`],
      validity: leafLife(signer, lifetimes, now),
    });
    return [cert, ...authorities.map((one) => one.cert)].map((one) => `${one.trim()}\n`).join('');
  }

  /** Writes an answer: the condition by its own part of the object, since it is a permission of its own, then the certificate. */
  async #write(
    request: SigningRequestObject,
    condition: Omit<RequestCondition, 'status'>,
    { certificate, signal }: { readonly certificate?: string; readonly signal: AbortSignal },
  ): Promise<void> {
    const { signingRequests } = RESOURCES;
    const conditions = request.status?.conditions ?? [];
    const isApproved = conditions.some(({ type }) => type === 'Approved');
    // A request that somebody else has approved is not denied any more, but can fail.
    const own = {
      ...condition,
      status: 'True' as const,
      ...(isApproved && certificate === undefined ? { type: 'Failed' as const } : {}),
    };
    let object = request;
    if (!isApproved) {
      object = await this.#client.replace(
        signingRequests,
        { ...request, status: { ...request.status, conditions: [...conditions, own] } },
        { part: 'approval', signal },
      );
      if (certificate === undefined) return;
    }
    const status =
      certificate === undefined
        ? { ...object.status, conditions: [...conditions, own] }
        : { ...object.status, certificate: Buffer.from(certificate).toString('base64') };
    await this.#client.replace(signingRequests, { ...object, status }, { part: 'status', signal });
  }
}

/** Whether nobody has answered it. */
function isOpen({ status }: SigningRequestObject): boolean {
  const isRefused = status?.conditions?.some(({ type }) => type !== 'Approved') === true;
  return !isRefused && (status?.certificate ?? '') === '';
}

/** An object without what a person may have put into it, so that many of them need little memory. */
function shortened({ apiVersion, kind, metadata, spec, status }: SigningRequestObject): SigningRequestObject {
  const { name, uid, resourceVersion } = metadata;
  const { request, signerName, usages, username, extra } = spec;
  const names = { [POD_NAME]: extra?.[POD_NAME] ?? [], [POD_UID]: extra?.[POD_UID] ?? [] };
  return {
    apiVersion: apiVersion ?? 'certificates.k8s.io/v1',
    kind: kind ?? 'CertificateSigningRequest',
    metadata: {
      name,
      ...(uid === undefined ? {} : { uid }),
      ...(resourceVersion === undefined ? {} : { resourceVersion }),
    },
    spec: {
      request: request.length > MAX_REQUEST ? '' : request,
      signerName,
      ...(usages === undefined ? {} : { usages }),
      ...(username === undefined ? {} : { username }),
      extra: names,
    },
    ...(status === undefined ? {} : { status }),
  };
}

/** The IP of a node's id, `ip:port`; undefined for anything else. */
function addressOf(node: string): string | undefined {
  const colon = node.lastIndexOf(':');
  const address = node.slice(0, colon).replace(/^\[|\]$/g, '');
  const port = node.slice(colon + 1);
  return isIP(address) !== 0 && /^[1-9]\d{0,4}$/.test(port) && Number(port) < 65_536 ? address : undefined;
}
