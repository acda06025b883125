/** The web hook against a real server on the loopback, which checks the signature with its own code. */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type Loopback, listen } from '../tests/support/loopback.ts';
import { notify, receiverUrl } from './notify.ts';

const SECRET = 'not a secret: été';
/** One answer of the server: a status, or what it does to the connection. */
type Answer = number | 'reset' | 'silence' | ((response: ServerResponse) => void);

let receiver: Loopback;
let url: string;
let answers: Answer[] = [];
let taken: { readonly headers: IncomingHttpHeaders; readonly body: string }[] = [];

beforeAll(async () => {
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    taken.push({ headers: request.headers, body: Buffer.concat(chunks).toString('utf8') });
    const answer = answers.shift() ?? 204;
    if (typeof answer === 'function') answer(response);
    else if (answer === 'reset') request.socket.destroy();
    else if (answer !== 'silence') response.writeHead(answer).end(answer >= 400 ? 'the reason' : '');
  });
  receiver = await listen(server);
  url = `http://${receiver.host}/hook/T0K3N?key=K3Y`;
});
afterEach(() => {
  answers = [];
  taken = [];
});
afterAll(() => receiver.stop());

const slept: number[] = [];
const RUNTIME = { sleep: async (ms: number) => void slept.push(ms), random: () => 0.5, tryTimeout: 30_000 };
const send = (inputs: object = {}, runtime: object = {}, signal?: AbortSignal) =>
  notify(
    { url: receiverUrl(url, false), secret: SECRET, ...inputs },
    { delivery: 'd1', document: { event: 'accelerated', name: 'café' } },
    signal,
    {
      ...RUNTIME,
      ...runtime,
    },
  );

describe('a message', () => {
  it('is JSON and signed over its bytes', async () => {
    expect(await send()).toEqual({ attempts: 1 });
    const [{ headers, body }] = taken as [(typeof taken)[0]];
    expect(JSON.parse(body)).toEqual({ event: 'accelerated', name: 'café' });
    expect(headers['content-type']).toBe('application/json');
    const expected = createHmac('sha256', SECRET).update(Buffer.from(body)).digest();
    const given = Buffer.from(String(headers['x-accel-signature-256']).replace(/^sha256=/, ''), 'hex');
    expect(timingSafeEqual(given, expected)).toBe(true);
  });

  it('has no signature without a secret', async () => {
    await send({ secret: undefined });
    expect(taken[0]?.headers['x-accel-signature-256']).toBeUndefined();
  });

  it('is the same delivery however often it is sent', async () => {
    answers = [500];
    await send();
    await send();
    expect(taken.map(({ headers }) => headers['x-accel-delivery'])).toEqual(['d1', 'd1', 'd1']);
  });
});

describe('a retry', () => {
  it.each<[string, Answer]>([
    ['HTTP 500', 500],
    ['HTTP 503', 503],
    ['HTTP 429', 429],
    ['a reset', 'reset'],
  ])('follows %s', async (_, answer) => {
    answers = [answer, answer, 200];
    expect(await send()).toEqual({ attempts: 3 });
  });

  it('waits longer each time, and as long as the receiver asks for', async () => {
    slept.length = 0;
    answers = [500, 500, (response) => response.writeHead(503, { 'retry-after': '7' }).end(), 200];
    await send();
    expect(slept).toEqual([375, 750, 7000]);
  });

  it('follows a timeout', async () => {
    answers = ['silence', 204];
    // A machine that is busy may make the next try silent as well.
    const { attempts } = await send({}, { tryTimeout: 1000 });
    expect(attempts).toBeGreaterThan(1);
  });

  it('ends after the last attempt', async () => {
    answers = Array(9).fill(500);
    await expect(send()).rejects.toMatchObject({
      code: 'notify-failed',
      where: { attempts: 8 },
      found: 'HTTP 500: the reason',
    });
    expect(taken).toHaveLength(8);
  });

  it('does not wait longer than a minute for the receiver', async () => {
    answers = Array(9).fill((response: ServerResponse) => response.writeHead(503, { 'retry-after': '3600' }).end());
    await expect(send()).rejects.toMatchObject({ code: 'notify-failed' });
    expect(taken).toHaveLength(1);
  });

  it.each([400, 401, 404, 302])('does not follow HTTP %d', async (status) => {
    answers = [status === 302 ? (response) => response.writeHead(302, { location: url }).end() : status];
    await expect(send()).rejects.toMatchObject({
      code: 'notify-failed',
      found: expect.stringContaining(String(status)),
    });
    expect(taken).toHaveLength(1);
  });

  it('does not follow an abort', async () => {
    const controller = new AbortController();
    answers = [() => controller.abort(new Error('interrupted')), 200];
    await expect(send({}, {}, controller.signal)).rejects.toThrow('interrupted');
    expect(taken).toHaveLength(1);
  });
});

it('no error shows the path of the URL or the secret', async () => {
  answers = Array(9).fill(500);
  const error = await send().catch((one: unknown) => one);
  const text = JSON.stringify(error) + String(error) + (error as Error).stack;
  expect(text).not.toMatch(/T0K3N|K3Y|not a secret/);
});

describe('the URL', () => {
  it.each([
    ['no URL', 'hook'],
    ['another scheme', 'ftp://127.0.0.1/hook'],
    ['a file', 'file:///etc/passwd'],
    ['a user', 'https://user:T0K3N@127.0.0.1/hook'],
    ['plain HTTP to another machine', 'http://192.0.2.1/T0K3N'],
    ['a name that begins like the loopback', 'http://127.0.0.1.example.com/T0K3N'],
  ])('is refused: %s', (_, text) => {
    let error: unknown;
    try {
      receiverUrl(text, false);
    } catch (caught) {
      error = caught;
    }
    expect(error).toMatchObject({ code: 'usage' });
    expect(JSON.stringify(error)).not.toContain('T0K3N');
  });

  it.each([
    ['https://hooks.example.com/T0K3N', false],
    ['http://localhost:8080/', false],
    ['http://[::1]:8080/', false],
    ['http://192.0.2.1/', true],
  ])('is taken: %s, plain %s', (text, plain) => expect(receiverUrl(text, plain).href).toBe(text));
});
