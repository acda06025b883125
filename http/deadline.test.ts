import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { afterEach, describe, expect, test } from 'vitest';
import { listen } from '../tests/support/loopback.ts';
import { errorCode } from './failure.ts';
import type { HttpOptions } from './http-options.ts';
import type { HttpTrace } from './http-trace.ts';
import { type HttpRequest, Transport } from './transport.ts';

const cleanups: (() => Promise<unknown> | unknown)[] = [];
afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean();
});

/** A server that answers by `respond`; its URL. */
async function serve(respond: (request: IncomingMessage, response: ServerResponse) => void): Promise<URL> {
  const server = await listen(createServer({ requestTimeout: 0, headersTimeout: 0 }, respond));
  cleanups.push(server.stop);
  return new URL(`http://${server.host}/`);
}

/** Writes `piece` every few milliseconds until the client goes away. */
function drip(response: ServerResponse, piece: string, every = 10): void {
  const timer = setInterval(() => response.write(piece), every);
  response.on('close', () => clearInterval(timer));
}

const traces: HttpTrace[] = [];

async function send(request: Pick<HttpRequest, 'url'> & Partial<HttpRequest>, options: HttpOptions = {}) {
  traces.length = 0;
  const transport = await Transport.open({ env: {}, trace: (record) => traces.push(record), ...options });
  cleanups.push(() => transport.close());
  return transport.send({ method: 'GET', headers: {}, ...request });
}

const failure = (work: Promise<unknown>) =>
  work.then(
    () => 'no failure',
    (error: unknown) => errorCode(error) ?? error,
  );

async function drain(body: AsyncIterable<Uint8Array>, pause = 0): Promise<number> {
  let size = 0;
  for await (const chunk of body) {
    size += chunk.length;
    if (pause > 0) await new Promise((resolve) => setTimeout(resolve, pause));
  }
  return size;
}

describe('a deadline ends', () => {
  test('an answer whose header drips', async () => {
    const url = await serve(({ socket }) => {
      socket.write('HTTP/1.1 200 OK\r\nX-A: ');
      const timer = setInterval(() => socket.write('a'), 10);
      socket.on('close', () => clearInterval(timer));
    });
    const runtime = { connectTimeout: 100, stallTimeout: 100 };
    expect(await failure(send({ url }, { runtime }))).toBe('HEADERS_DEADLINE');
    expect(traces).toMatchObject([{ status: undefined, error: 'HEADERS_DEADLINE', received: 0 }]);
  });

  test('a document that drips', async () => {
    const url = await serve((_, response) => drip(response.writeHead(200), 'a'));
    const { body } = await send({ url }, { runtime: { documentTimeout: 150 } });
    expect(await failure(drain(body))).toBe('DOCUMENT_DEADLINE');
    const answer = await send({ url }, { runtime: { documentTimeout: 150 } });
    expect(await failure(answer.text(1e6))).toBe('DOCUMENT_DEADLINE');
  });

  test('a blob slower than the least rate', async () => {
    const url = await serve((_, response) => drip(response.writeHead(200), 'a'));
    const { body } = await send({ url, stream: true }, { runtime: { rateWindow: 200 } });
    expect(await failure(drain(body))).toBe('TOO_SLOW');
    expect(traces).toMatchObject([{ status: 200, error: 'TOO_SLOW' }]);
    expect(traces[0]!.received).toBeGreaterThan(0);
  });

  test('an upload that the server hardly reads', async () => {
    const url = await serve((request) => request.pause());
    const source = {
      async *open() {
        for (;;) yield new Uint8Array(65_536);
      },
    };
    const request = { url, method: 'PUT', body: { source, size: 2 ** 40 } } as const;
    const runtime = { rateWindow: 300 };
    expect(await failure(send(request, { runtime, minRate: 2 ** 40 }))).toBe('TOO_SLOW');
  });

  test('an upload that is never answered', async () => {
    const url = await serve((request) => request.resume());
    const source = {
      async *open() {
        yield new Uint8Array(10);
      },
    };
    const request = { url, method: 'PUT', body: { source, size: 10 } } as const;
    expect(await failure(send(request, { runtime: { commitTimeout: 100 } }))).toMatch(/HEADERS_(DEADLINE|TIMEOUT)/);
  });
});

describe('no deadline ends', () => {
  test('a blob whose reader is slow', async () => {
    const url = await serve((_, response) => response.end(Buffer.alloc(200_000)));
    const { body } = await send({ url, stream: true }, { runtime: { rateWindow: 50, documentTimeout: 50 } });
    expect(await drain(body, 60)).toBe(200_000);
  });

  test('a blob that keeps the rate, however long it takes', async () => {
    const url = await serve((_, response) => {
      let left = 40;
      const timer = setInterval(() => {
        left -= 1;
        if (left > 0) response.write(Buffer.alloc(10_000));
        else {
          clearInterval(timer);
          response.end();
        }
      }, 10);
    });
    const { body } = await send({ url, stream: true }, { runtime: { rateWindow: 50, documentTimeout: 50 } });
    expect(await drain(body)).toBe(390_000);
  });

  test('a blob that drips where any rate will do', async () => {
    const url = await serve((_, response) => {
      drip(response, 'a');
      setTimeout(() => response.end(), 400);
    });
    const { body } = await send({ url, stream: true }, { minRate: 0, runtime: { rateWindow: 50 } });
    expect(await drain(body)).toBeGreaterThan(0);
  });

  test('an upload whose source is slow', async () => {
    const url = await serve((request, response) => request.resume().on('end', () => response.end()));
    const source = {
      async *open() {
        for (let count = 0; count < 5; count += 1) {
          await new Promise((resolve) => setTimeout(resolve, 80));
          yield new Uint8Array(1);
        }
      },
    };
    const body = { source, size: 5 };
    const answer = await send({ url, method: 'PUT', body }, { runtime: { rateWindow: 100, commitTimeout: 1000 } });
    expect(answer.status).toBe(200);
    await answer.discard();
    expect(traces).toMatchObject([{ method: 'PUT', status: 200, sent: 5, error: undefined }]);
  });
});

test('what is unwanted is dropped soon, though it does not end', async () => {
  const url = await serve((_, response) => drip(response.writeHead(307, { 'content-length': '60000' }), 'a'));
  const answer = await send({ url });
  await answer.discard();
  expect(traces).toMatchObject([{ status: 307, error: undefined }]);
});

test('an explanation that does not end is shown as far as it came', async () => {
  const url = await serve((_, response) => {
    response.writeHead(403, { 'content-length': '60000' });
    response.write('denied by policy');
  });
  const answer = await send({ url });
  expect(await answer.excerpt(1000)).toBe('denied by policy');
});

test.each([
  ['169.254.169.254', 'metadata service'],
  ['fd00:ec2::254', 'metadata service'],
  ['::ffff:169.254.169.254', 'metadata service'],
  ['127.0.0.1', 'this machine'],
  ['127.8.8.8', 'this machine'],
  ['0.0.0.0', 'this machine'],
  ['::1', 'this machine'],
  ['::ffff:127.0.0.1', 'this machine'],
])('a name that a server chose and that resolves to %s is refused', async (address, what) => {
  const family = address.includes(':') ? 6 : 4;
  let lookups = 0;
  // The name leads elsewhere from its second lookup on: what was checked must be what is connected to.
  const transport = await Transport.open({ env: {}, runtime: { connectTimeout: 100 } }, (_, options, callback) => {
    const found = lookups++ === 0 ? address : '192.0.2.1';
    return options.all === true ? callback(null, [{ address: found, family }]) : callback(null, found, family);
  });
  cleanups.push(() => transport.close());
  const url = new URL('http://storage.example.com/');
  await expect(transport.send({ method: 'GET', url, headers: {}, foreign: true })).rejects.toThrow(what);
  expect(lookups).toBe(1);
});

test('the trace names the request, without its query', async () => {
  const url = await serve((_, response) => {
    response.writeHead(404, { 'x-amz-request-id': 'AB12' });
    response.end('gone');
  });
  const answer = await send({ url: new URL('/blob?X-Signature=0123', url), attempt: 3 });
  await answer.text(100);
  expect(traces).toEqual([
    {
      method: 'GET',
      url: `${url.href}blob?…`,
      attempt: 3,
      status: 404,
      sent: 0,
      received: 4,
      milliseconds: expect.any(Number),
      requestId: 'AB12',
      error: undefined,
    },
  ]);
});
