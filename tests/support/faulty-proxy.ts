/** A proxy before a registry that notes every request and can make some of them fail, the same ones for the same seed. */
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, request as requestUpstream, type ServerResponse } from 'node:http';
import { listen } from './loopback.ts';

/**
 * The faults of a request: `unavailable` answers 503; `reset` cuts the connection before the registry hears of it,
 * `lost` after the registry has done it, `cut` in the middle of the answer's body.
 */
export type Fault = 'unavailable' | 'reset' | 'lost' | 'cut';

/** One request as it went through. */
export interface Passage {
  readonly method: string;
  /** Path with query. */
  readonly url: string;
  readonly fault: Fault | undefined;
  /** Status of the registry's answer; undefined until it arrives. */
  status: number | undefined;
  /** Bytes of the answer's body that were passed on. */
  bytes: number;
}

/** Says what happens to a request. */
export type FaultPlan = (request: Pick<Passage, 'method' | 'url'>) => Fault | undefined;

/** A running proxy. */
export interface FaultyProxy {
  /** `127.0.0.1:port`. */
  readonly host: string;
  readonly passages: readonly Passage[];
  /** Calls `listener` with the number of requests so far whenever one comes in. */
  onRequest(listener: (count: number) => void): void;
  /** Begins a new list of passages. */
  clear(): void;
  /** Resolves when no request is under way any more. */
  quiet(): Promise<void>;
  stop(): Promise<void>;
}

/** Starts a proxy for the plain HTTP server at `upstream` (`host:port`); without a plan everything goes through. */
export async function startFaultyProxy(upstream: string, faults: FaultPlan = () => undefined): Promise<FaultyProxy> {
  let passages: Passage[] = [];
  let listener: (count: number) => void = () => undefined;
  let open = 0;
  const server = createServer((incoming, outgoing) => {
    const { method = '', url = '' } = incoming;
    const passage: Passage = { method, url, fault: faults({ method, url }), status: undefined, bytes: 0 };
    passages.push(passage);
    open += 1;
    outgoing.once('close', () => {
      open -= 1;
    });
    listener(passages.length);
    pass(upstream, passage, incoming, outgoing);
  });
  const { host, stop } = await listen(server);
  return {
    host,
    get passages() {
      return passages;
    },
    onRequest(next) {
      listener = next;
    },
    clear() {
      passages = [];
    },
    async quiet() {
      while (open > 0) await new Promise((resolve) => setTimeout(resolve, 5));
    },
    stop,
  };
}

function pass(upstream: string, passage: Passage, incoming: IncomingMessage, outgoing: ServerResponse): void {
  const { method, url, fault } = passage;
  if (fault === 'reset') {
    incoming.socket.resetAndDestroy();
    return;
  }
  if (fault === 'unavailable') {
    incoming.resume().on('end', () => outgoing.writeHead(503, { 'content-length': '0' }).end());
    return;
  }
  const [hostname, port] = upstream.split(':');
  const forwarded = requestUpstream({ hostname, port, method, path: url, headers: incoming.headers, agent: false });
  forwarded.on('response', (answer) => {
    passage.status = answer.statusCode;
    if (fault === 'lost') {
      answer.resume().on('end', () => incoming.socket.resetAndDestroy());
      return;
    }
    outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
    const whole = Number(answer.headers['content-length'] ?? 0);
    answer.on('data', (chunk: Buffer) => {
      passage.bytes += chunk.length;
      if (fault === 'cut' && passage.bytes >= whole / 2) incoming.socket.resetAndDestroy();
    });
    answer.on('error', () => incoming.socket.destroy());
    answer.pipe(outgoing);
  });
  forwarded.on('error', () => incoming.socket.destroy());
  // A client that goes away in the middle of its body takes the request to the registry with it.
  incoming.on('aborted', () => forwarded.destroy());
  incoming.pipe(forwarded);
}

const KINDS: readonly Fault[] = ['unavailable', 'reset', 'lost', 'cut'];

/**
 * Lets `share` (0 to 1) of the requests fail, each kind of fault as often. The choice depends on the seed, the request
 * and how often it came before, not on the order in which requests for different things arrive.
 */
export function randomFaults(seed: number, share: number): FaultPlan {
  const times = new Map<string, number>();
  return ({ method, url }) => {
    // Names that the registry invents each time would change the plan of each run.
    const key = `${method} ${url.replace(/\/uploads\/[^?]+/, '/uploads/…').replace(/_state=[^&]*&?/, '')}`;
    const count = times.get(key) ?? 0;
    times.set(key, count + 1);
    const hash = createHash('sha256').update(`${seed} ${count} ${key}`).digest();
    return hash.readUInt32LE(0) / 2 ** 32 < share ? KINDS[hash[4]! % KINDS.length] : undefined;
  };
}
