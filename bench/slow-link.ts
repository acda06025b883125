/** An HTTP server between accel and a registry that adds latency and limits the rate. */
import { createServer, request, type ServerResponse } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { listen } from '../tests/support/loopback.ts';
import type { PassedTraffic } from './counting-proxy.ts';

/** Latency and rate of the link. */
export interface LinkOptions {
  /** Milliseconds from a request to the first byte of its answer. */
  readonly latency: number;
  /** Bits a second. */
  readonly rate: number;
  /** Whether the rate is that of all answers together, or of each of them. */
  readonly shared: boolean;
}

/** A running link. */
export interface SlowLink {
  /** `127.0.0.1:port`. */
  readonly host: string;
  /** Returns the traffic since the last {@link SlowLink.reset}. */
  count(): PassedTraffic;
  reset(options: LinkOptions): void;
  stop(): Promise<void>;
}

/** When the next byte may leave. */
interface Lane {
  free: number;
}

/** Starts a link to the plain HTTP server at `upstream` (`host:port`); without delay until it is reset. */
export async function startSlowLink(upstream: string): Promise<SlowLink> {
  const passed = { requests: 0, bytes: 0 };
  let options: LinkOptions = { latency: 0, rate: Number.POSITIVE_INFINITY, shared: true };
  let shared: Lane = { free: 0 };
  const [hostname, port] = upstream.split(':');
  const server = createServer((incoming, outgoing) => {
    passed.requests++;
    const { method, url, headers } = incoming;
    const lane = options.shared ? shared : { free: 0 };
    const { latency, rate } = options;
    const forwarded = request({ hostname, port, method, path: url, headers }, (answer) => {
      const send = async (): Promise<void> => {
        await delay(latency);
        outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
        for await (const chunk of answer) await pass(chunk as Buffer, outgoing, { lane, rate, passed });
        outgoing.end();
      };
      send().catch((error: Error) => outgoing.destroy(error));
    });
    forwarded.on('error', (error) => outgoing.destroy(error));
    incoming.pipe(forwarded);
  });
  const { host, stop } = await listen(server);
  return {
    host,
    count: () => ({ ...passed }),
    reset(wanted) {
      passed.requests = 0;
      passed.bytes = 0;
      options = wanted;
      shared = { free: 0 };
    },
    stop,
  };
}

async function pass(
  chunk: Buffer,
  to: ServerResponse,
  { lane, rate, passed }: { readonly lane: Lane; readonly rate: number; readonly passed: { bytes: number } },
): Promise<void> {
  const now = performance.now();
  lane.free = Math.max(now, lane.free) + (chunk.length * 8000) / rate;
  if (lane.free > now) await delay(lane.free - now);
  passed.bytes += chunk.length;
  to.write(chunk);
}
