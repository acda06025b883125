/** Receives the service's notifications. */
import { createHmac } from 'node:crypto';
import { createServer } from 'node:http';
import { text } from 'node:stream/consumers';
import { type Loopback, listen } from '../../../tests/support/loopback.ts';

/** A notification that arrived. */
export interface Received {
  readonly document: { readonly repository: string; readonly tags: readonly { readonly tag: string }[] };
  /** Whether its signature is that of the secret. */
  readonly isSigned: boolean;
  /** Its identifier, which further deliveries of the same notification have too. */
  readonly delivery: string;
}

/** A receiver on loopback. */
export interface Receiver extends Loopback {
  readonly url: string;
  readonly received: readonly Received[];
}

/** Starts a receiver. */
export async function startReceiver(secret: string): Promise<Receiver> {
  const received: Received[] = [];
  const server = await listen(
    createServer(async (request, answer) => {
      const body = await text(request);
      answer.writeHead(204).end();
      const signature = `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`;
      received.push({
        document: JSON.parse(body),
        isSigned: request.headers['x-accel-signature-256'] === signature,
        delivery: String(request.headers['x-accel-delivery']),
      });
    }),
  );
  return { ...server, url: `http://${server.host}/`, received };
}
