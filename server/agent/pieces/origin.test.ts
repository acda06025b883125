/** An origin's answers: what is taken as a piece, what is refused, what is asked for again. The origin is a scripted server. */
import { randomBytes } from 'node:crypto';
import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { TokenBucket } from '../limits.ts';
import { Origin, type OriginBlob } from './origin.ts';
import { OriginFailure } from './origin-failure.ts';
import { Upstreams } from './upstreams.ts';

const MIB = 2 ** 20;
const HEX = 'a'.repeat(64);
const content = randomBytes(5 * MIB + 1);

type Script = (request: IncomingMessage, response: ServerResponse, call: number) => void;

let server: http.Server;
let origin: Origin;
let script: Script;
let calls: IncomingMessage[];
/** Bytes of bodies that the origin's reader took. */
let read = 0;

beforeEach(async () => {
  calls = [];
  server = http.createServer((request, response) => {
    calls.push(request);
    script(request, response, calls.length);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  origin = new Origin({
    upstreams: new Upstreams([{ host: host(), plain: true, http: {} }]),
    bucket: new TokenBucket(Infinity),
    deadlines: { firstByte: 300, stall: 300, piece: 5000 },
    retryWaits: [1, 1],
    onBytes: (_, bytes) => {
      read += bytes;
    },
  });
});
afterEach(async () => {
  await origin.close();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

function host(): string {
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function blob(more: Partial<OriginBlob> = {}): OriginBlob {
  const url = new URL(`http://${host()}/v2/a/blobs/sha256:${HEX}`);
  return { digest: `sha256:${HEX}`, size: content.length, url, authorization: 'Bearer mine', ...more };
}

function get(index = 0, signal?: AbortSignal): Promise<Buffer> {
  return origin.piece(blob(), index, { onOther: () => undefined, stored: async () => undefined, signal });
}

/** Answers as a good registry, with changes. */
function serve(change: { headers?: object; status?: number; bytes?: (right: Buffer) => Buffer } = {}): Script {
  return (request, response) => {
    const [, from = '', to = ''] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? [];
    const right = content.subarray(Number(from), Number(to) + 1);
    const bytes = change.bytes?.(right) ?? right;
    response.writeHead(change.status ?? 206, {
      'content-range': `bytes ${from}-${to}/${content.length}`,
      ...change.headers,
    });
    response.end(bytes);
  };
}

async function failure(promise: Promise<unknown>): Promise<OriginFailure> {
  const error = await promise.then(
    () => new Error('it did not fail'),
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(OriginFailure);
  return error as OriginFailure;
}

it('takes the right piece, with the credential of the one who wants it', async () => {
  script = serve();
  expect((await get(2)).equals(content.subarray(4 * MIB))).toBe(true);
  expect(calls[0]!.headers).toMatchObject({ range: `bytes=${4 * MIB}-${5 * MIB}`, authorization: 'Bearer mine' });
});

describe('an answer that is not what was asked for is refused', () => {
  it.each([
    ['another start', { headers: { 'content-range': `bytes 1-${2 * MIB}/${content.length}` } }],
    ['another size of the whole', { headers: { 'content-range': `bytes 0-${2 * MIB - 1}/999` } }],
    ['no size of the whole', { headers: { 'content-range': `bytes 0-${2 * MIB - 1}/*` } }],
    ['no Content-Range', { headers: { 'content-range': '' } }],
    ['a content coding', { headers: { 'content-encoding': 'gzip' } }],
    ['too many bytes', { bytes: (right: Buffer) => Buffer.concat([right, Buffer.from('x')]) }],
    ['too few bytes', { bytes: (right: Buffer) => right.subarray(1) }],
    ['204', { status: 204, bytes: () => Buffer.alloc(0) }],
  ])('%s', async (_, change) => {
    script = serve(change);
    await failure(get());
  });

  it('a whole of another size', async () => {
    script = (_, response) => response.writeHead(200, { 'content-length': 3 }).end('abc');
    expect((await failure(get())).message).toContain('3 bytes');
  });
});

describe('an origin that does not know ranges', () => {
  it('is read once for all pieces', async () => {
    script = (_, response) => response.writeHead(200, { 'content-length': content.length }).end(content);
    read = 0;
    const pieces = await Promise.all([get(2), get(0), get(1)]);
    expect(Buffer.concat([pieces[1]!, pieces[2]!, pieces[0]!]).equals(content)).toBe(true);
    expect(read).toBe(content.length);
  });

  it('fails those who wait when it ends early', async () => {
    script = (_, response) => {
      response.writeHead(200, { 'content-length': content.length });
      response.write(content.subarray(0, 3 * MIB), () => setTimeout(() => response.destroy(), 50));
    };
    await failure(get(2));
  });

  it('goes on for others when the one who began leaves', async () => {
    let finish: () => void = () => undefined;
    script = (_, response) => {
      response.writeHead(200, { 'content-length': content.length });
      response.write(content.subarray(0, MIB));
      finish = () => response.end(content.subarray(MIB));
    };
    const gone = new AbortController();
    const first = get(0, gone.signal);
    await expect.poll(() => calls.length).toBe(1);
    // The answer's headers reach the client before the second one asks.
    await new Promise((resolve) => setTimeout(resolve, 100));
    const second = get(1);
    gone.abort(new Error('left'));
    await expect(first).rejects.toThrow('left');
    finish();
    expect((await second).equals(content.subarray(2 * MIB, 4 * MIB))).toBe(true);
    expect(calls).toHaveLength(1);
  });
});

describe('trouble that may pass', () => {
  it.each([429, 500, 502, 503])('%i is asked again', async (status) => {
    script = (request, response, call) =>
      call === 1 ? response.writeHead(status).end() : serve()(request, response, call);
    expect((await get()).equals(content.subarray(0, 2 * MIB))).toBe(true);
    expect(calls).toHaveLength(2);
  });

  it('a connection that breaks is asked again', async () => {
    script = (request, response, call) => (call === 1 ? response.destroy() : serve()(request, response, call));
    expect((await get()).equals(content.subarray(0, 2 * MIB))).toBe(true);
  });

  it('bodies that break in the middle are continued, however often', async () => {
    script = (request, response) => {
      const [, from = '', to = ''] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? [];
      const rest = content.subarray(Number(from), Number(to) + 1);
      response.writeHead(206, {
        'content-range': `bytes ${from}-${to}/${content.length}`,
        'content-length': rest.length,
      });
      response.write(rest.subarray(0, 400_000), () => response.destroy());
    };
    read = 0;
    expect((await get(1)).equals(content.subarray(2 * MIB, 4 * MIB))).toBe(true);
    // Six parts, and no byte twice.
    expect([calls.length, read]).toEqual([6, 2 * MIB]);
  });

  it.each([
    ['an origin that does not answer', (() => undefined) as Script],
    [
      'a body that stops',
      ((_, response) => {
        response.writeHead(206, { 'content-range': `bytes 0-${2 * MIB - 1}/${content.length}` });
        response.write('x');
      }) as Script,
    ],
  ])('%s is left after its deadline', async (_, silent) => {
    script = silent;
    expect((await failure(get())).status).toBe(0);
    expect(calls).toHaveLength(3);
  });

  it.each([401, 403, 404])('%i is final, and its challenge is passed on', async (status) => {
    script = (_, response) => response.writeHead(status, { 'www-authenticate': 'Bearer realm="x"' }).end();
    expect(await failure(get())).toMatchObject({ status, challenge: 'Bearer realm="x"' });
    expect(calls).toHaveLength(1);
  });

  it('a caller who leaves ends the wait and the request', async () => {
    script = () => undefined;
    const gone = new AbortController();
    const waiting = get(0, gone.signal);
    await expect.poll(() => calls.length).toBe(1);
    gone.abort(new Error('left'));
    await expect(waiting).rejects.toThrow('left');
    expect(origin.waiting).toBe(0);
    expect(calls).toHaveLength(1);
  });
});

describe('redirects', () => {
  it.each([
    'http://169.254.169.254/latest/meta-data/',
    'http://[fd00:ec2::254]/latest/',
    'http://metadata.google.internal/computeMetadata/v1/',
    'http://[::ffff:169.254.169.254]/',
    'http://2852039166/latest/',
    'http://100.100.100.200/',
    'ftp://store.example/x',
    'file:///etc/passwd',
  ])('to %s is refused', async (location) => {
    script = (_, response) => response.writeHead(307, { location }).end();
    await failure(get());
  });

  it('leaves the credential behind at another origin', async () => {
    const other = http.createServer((request, response) => {
      calls.push(request);
      serve()(request, response, 0);
    });
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    try {
      const { port } = other.address() as AddressInfo;
      script = (_, response) => response.writeHead(307, { location: `http://127.0.0.1:${port}/there?sig=1` }).end();
      expect((await get()).equals(content.subarray(0, 2 * MIB))).toBe(true);
      expect(calls[1]!.headers.authorization).toBeUndefined();
    } finally {
      other.closeAllConnections();
      await new Promise((resolve) => other.close(resolve));
    }
  });
});

it.each(['http://127.0.0.1:1/v2/a/blobs/x', 'https://elsewhere.example/v2/a/blobs/x', 'http://[::1]/x'])(
  'a URL of no configured upstream is not asked: %s',
  async (url) => {
    const target = { url: new URL(url) };
    expect(await failure(origin.request('GET', target, {}))).toMatchObject({ status: 403 });
  },
);
