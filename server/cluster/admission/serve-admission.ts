/** The HTTPS server of the webhook, with a certificate that can be replaced while it runs. */
import type { Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import fastify from 'fastify';
import { AccelError } from '../../../base/error.ts';
import { TAKEN_ADDRESS } from '../../config/taken-address.ts';
import type { Admission } from '../admission.ts';

/** A certificate with its key, as PEM text. */
export interface ServerCertificate {
  readonly cert: string;
  readonly key: string;
}

/** A source of certificates: files, or a Secret of the cluster. */
export interface CertificateSource {
  readonly current: ServerCertificate;
  /** Registers a function that is called with each new certificate. */
  onChange(listener: (certificate: ServerCertificate) => void): void;
  /** Ends it. */
  close(): Promise<void> | void;
}

/** A running server. */
export interface AdmissionServer {
  readonly port: number;
  /** Ends it after the reviews that go on. */
  close(): Promise<void>;
}

/** The path of the webhook; the configuration of the webhook in the cluster names it. */
export const WEBHOOK_PATH = '/mutate';
/** Most bytes of a review: a pod and the pod that it was, each up to etcd's 1.5 MiB, and some. */
const MAX_BODY = 4 << 20;
/** Connections at a time: each API server keeps a few. */
const MAX_CONNECTIONS = 1_024;
const REQUEST_TIMEOUT = 5_000;
const KEEP_ALIVE = 60_000;

/** Listens. Fails with `io-error` where the address cannot be had, with Node's error for a broken certificate. */
export async function serveAdmission(
  admission: Pick<Admission, 'review'>,
  certificates: CertificateSource,
  address: { readonly host: string; readonly port: number },
): Promise<AdmissionServer> {
  const { cert, key } = certificates.current;
  const app = fastify({
    https: { cert, key, minVersion: 'TLSv1.2' },
    bodyLimit: MAX_BODY,
    requestTimeout: REQUEST_TIMEOUT,
    keepAliveTimeout: KEEP_ALIVE,
    forceCloseConnections: 'idle',
    onProtoPoisoning: 'error',
    onConstructorPoisoning: 'error',
  });
  const server = app.server as unknown as Server;
  server.maxConnections = MAX_CONNECTIONS;
  app.post(WEBHOOK_PATH, async (request, reply) => {
    const answer = await admission.review(request.body);
    if (answer !== undefined) return answer;
    return reply
      .code(400)
      .send({ error: { code: 'usage', message: 'this is no AdmissionReview of admission.k8s.io/v1' } });
  });
  app.get('/healthz', async () => 'ok');
  try {
    await app.listen(address);
  } catch (cause) {
    throw new AccelError('io-error', 'cannot listen for reviews', {
      where: { key: 'cluster.admission.listen', address: `${address.host}:${address.port}` },
      found: (cause as Error).message,
      hint: TAKEN_ADDRESS,
      cause,
    });
  }
  certificates.onChange((next) => server.setSecureContext({ cert: next.cert, key: next.key, minVersion: 'TLSv1.2' }));
  return { port: (server.address() as AddressInfo).port, close: () => app.close() };
}
