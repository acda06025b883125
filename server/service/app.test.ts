/** The HTTP server over a real listener and a real SQLite queue. */
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import {
  conversionJob,
  type ServiceApp,
  type ServiceAppOptions,
  startServiceApp,
} from '../../tests/support/service-app.ts';
import type { HookKind } from './hooks/hook.ts';
import { type Queue, QueueError, type QueueRefusal } from './queue.ts';

const FIXTURES = new URL('hooks/fixtures/', import.meta.url);
const EVENTS = new URL('../../fixtures/events/', import.meta.url);

/** A payload of each kind with one push at least. */
const PAYLOADS: Readonly<Record<HookKind, URL>> = {
  distribution: new URL('distribution-v1.json', FIXTURES),
  harbor: new URL('harbor-default.json', FIXTURES),
  github: new URL('registry-package-published.json', EVENTS),
  acr: new URL('acr.json', FIXTURES),
  'acr-azure': new URL('acr-azure.json', FIXTURES),
  dockerhub: new URL('dockerhub.json', FIXTURES),
  quay: new URL('quay.json', FIXTURES),
  artifactory: new URL('artifactory.json', FIXTURES),
  ecr: new URL('ecr.json', FIXTURES),
  gar: new URL('gar.json', FIXTURES),
  zot: new URL('zot.json', FIXTURES),
  cloudevents: new URL('cloudevents-reference.json', FIXTURES),
};
const KINDS = Object.keys(PAYLOADS) as HookKind[];
const payload = (kind: HookKind): string => readFileSync(PAYLOADS[kind], 'utf8');
/** The hosts that the payloads name, and one for the kinds that name none. */
const HOSTS = [
  'registry.example.com:5000',
  'registry.example.com',
  'harbor.example.com',
  'registry.cn-hangzhou.aliyuncs.com',
  'example.azurecr.io',
  'docker.io',
  'quay.io',
  'ghcr.io',
  'artifactory.example.com',
  '123456789012.dkr.ecr.eu-central-1.amazonaws.com',
  'europe-west3-docker.pkg.dev',
  'zot.example.com',
];
const RULES = [{ repositories: HOSTS.map((host) => `${host}/**`) }];
const NAMED: Readonly<Partial<Record<HookKind, string>>> = {
  artifactory: 'artifactory.example.com',
  zot: 'zot.example.com',
};
const WRITE = { authorization: 'Bearer write-token-1' };
const READ = { authorization: 'Bearer read-token-22' };
const TOKENS: ServiceAppOptions = {
  files: { write: 'write-token-1\n', read: 'read-token-22\n', harbor: 'Bearer harbor-secret-3\n' },
};
const TOKEN_SETTINGS = [
  { name: 'ci', file: '$FOLDER/write', scope: 'write' },
  { name: 'viewer', file: '$FOLDER/read', scope: 'read' },
];
const HARBOR_HOOK = { harbor: { authorizationFile: '$FOLDER/harbor' } };
const HARBOR_SECRET = { authorization: 'Bearer harbor-secret-3' };

const running: ServiceApp[] = [];
const start = async (options: ServiceAppOptions = {}): Promise<ServiceApp> => {
  const app = await startServiceApp(options);
  running.push(app);
  return app;
};
const startWithTokens = (service: object = {}, parts: ServiceAppOptions['parts'] = {}): Promise<ServiceApp> =>
  start({
    ...TOKENS,
    parts,
    config: { rules: RULES, service: { tokens: TOKEN_SETTINGS, hooks: HARBOR_HOOK, ...service } },
  });
afterEach(async () => {
  for (const app of running.splice(0)) await app.stop();
});

interface Sent {
  readonly method?: string;
  readonly body?: string | Buffer;
  readonly headers?: Readonly<Record<string, string>>;
}
interface Got {
  readonly status: number;
  readonly headers: Headers;
  readonly said: string;
  // biome-ignore lint/suspicious/noExplicitAny: whatever the server says
  readonly body: any;
}
async function ask(app: ServiceApp, path: string, { method, body, headers = {} }: Sent = {}): Promise<Got> {
  const answer = await fetch(app.url + path, {
    method: method ?? (body === undefined ? 'GET' : 'POST'),
    headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
    ...(body === undefined ? {} : { body: body as string }),
  });
  const said = await answer.text();
  const isJson = answer.headers.get('content-type')?.includes('json') === true;
  return { status: answer.status, headers: answer.headers, said, body: isJson ? JSON.parse(said) : undefined };
}

/** Sends bytes as they are; what came until the connection ended. */
async function raw({ port }: ServiceApp, bytes: string): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  socket.write(bytes);
  return text(socket);
}
const events = (app: ServiceApp) => app.queue.list({ topic: 'event', limit: 500 });

describe('hooks', () => {
  it.each(KINDS)('%s: its pushes are on disk when it is answered, and twice is once', async (kind) => {
    const registry = NAMED[kind];
    const hooks = { [kind]: registry === undefined ? {} : { registry } };
    const app = await start({ config: { rules: RULES, service: { hooks } } });
    const first = await ask(app, `/hooks/${kind}`, {
      body: payload(kind),
      headers: { 'x-github-event': 'registry_package' },
    });
    expect([first.status, first.said]).toEqual([202, expect.stringMatching(/"accepted":[12],"dropped":0/)]);
    const stored = await events(app);
    expect(stored).toHaveLength(first.body.accepted);
    expect(stored[0]).toMatchObject({ state: 'waiting', data: { kind } });
    // Delivered again: the same job.
    await ask(app, `/hooks/${kind}`, { body: payload(kind), headers: { 'x-github-event': 'registry_package' } });
    expect((await events(app)).map(({ id }) => id)).toEqual(stored.map(({ id }) => id));
    expect((await ask(app, `/hooks/${kind}`, { body: 'no JSON' })).status).toBe(400);
    expect(app.audits[0]).toMatchObject({ caller: `hook:${kind}`, action: 'notify', from: '127.0.0.1' });
  });

  it('a tag that no registry takes is the fault of the sender, and is quoted shortly', async () => {
    const app = await start({ config: { rules: RULES, service: { hooks: { quay: {} } } } });
    const body = JSON.stringify({ docker_url: 'quay.io/team/app', updated_tags: ['a'.repeat(70_000)] });
    const { status, said } = await ask(app, '/hooks/quay', { body });
    expect([status, said.length < 1500]).toEqual([400, true]);
    expect(said).toContain('tag-too-long');
  });

  it('a kind that is not configured is 404, and says which key switches it on', async () => {
    const app = await start();
    for (const kind of KINDS) {
      const { status, body } = await ask(app, `/hooks/${kind}`, { body: '{}' });
      expect([status, body.error.expected]).toEqual([404, `service.hooks.${kind} in the configuration`]);
    }
    expect((await ask(app, '/hooks/other', { body: '{}' })).status).toBe(404);
  });

  it('secrets: the right one is accepted, a wrong one and none are 401, and nothing of them is accepted', async () => {
    const app = await start({
      files: { whole: 'Bearer whole-secret', basic: 'user:basic-secret', shared: 'shared-secret' },
      config: {
        rules: RULES,
        service: {
          hooks: {
            harbor: { authorizationFile: '$FOLDER/whole' },
            quay: { basicFile: '$FOLDER/basic' },
            github: { secretFile: '$FOLDER/shared' },
            dockerhub: { secretFile: '$FOLDER/shared' },
          },
        },
      },
    });
    const sign = (body: string, key = 'shared-secret'): Record<string, string> => ({
      'x-hub-signature-256': `sha256=${createHmac('sha256', key).update(body).digest('hex')}`,
      'x-github-event': 'registry_package',
    });
    const basic = (pair: string) => ({ authorization: `Basic ${Buffer.from(pair).toString('base64')}` });
    const post = async (kind: HookKind, headers: Record<string, string>, query = '') =>
      (await ask(app, `/hooks/${kind}${query}`, { body: payload(kind), headers })).status;
    expect(await post('harbor', {})).toBe(401);
    expect(await post('harbor', { authorization: 'Bearer whole-secret2' })).toBe(401);
    expect(await post('quay', basic('user:wrong'))).toBe(401);
    expect(await post('github', sign(payload('github'), 'other'))).toBe(401);
    expect(await post('github', sign(`${payload('github')} `))).toBe(401);
    expect(await post('github', {}, '?token=shared-secret')).toBe(401);
    expect(await post('dockerhub', {}, '?token=shared-secre')).toBe(401);
    expect(await events(app)).toEqual([]);
    expect(app.audits.map(({ outcome }) => outcome)).toEqual(Array(7).fill('refused: wrong or no secret'));
    expect(await post('harbor', { authorization: 'Bearer whole-secret' })).toBe(202);
    expect(await post('quay', basic('user:basic-secret'))).toBe(202);
    expect(await post('github', sign(payload('github')))).toBe(202);
    expect(await post('dockerhub', {}, '?token=shared-secret')).toBe(202);
    expect(JSON.stringify(app.audits)).not.toMatch(/(whole|basic|shared)-secret/);
  });

  it('without a secret, only this machine is heard, and no web page', async () => {
    const app = await start({ config: { rules: RULES, service: { hooks: { harbor: {} } } } });
    const body = payload('harbor');
    const send = async (headers: string): Promise<string> =>
      raw(
        app,
        `POST /hooks/harbor HTTP/1.1\r\n${headers}Content-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`,
      );
    expect(await send('Host: evil.example.com\r\n')).toMatch(/^HTTP\/1.1 403 /);
    expect(await send('Host: 127.0.0.1\r\nOrigin: https://evil.example.com\r\n')).toMatch(/^HTTP\/1.1 403 /);
    expect(await send('Host: 127.0.0.1\r\nOrigin: null\r\n')).toMatch(/^HTTP\/1.1 403 /);
    expect(await events(app)).toEqual([]);
    expect(await send('Host: 127.0.0.1\r\n')).toMatch(/^HTTP\/1.1 202 /);
  });

  it('where others can reach it, a receiver without a secret does not start', async () => {
    const config = { service: { listen: '0.0.0.0:8686', hooks: { harbor: {} } } };
    await expect(startServiceApp({ config })).rejects.toThrow('a receiver that others can reach needs a secret');
  });

  it('one that names a registry of nobody causes no request to it', async () => {
    let connections = 0;
    const { createServer } = await import('node:net');
    const victim = createServer((socket) => {
      connections += 1;
      socket.destroy();
    }).listen(0, '127.0.0.1');
    await new Promise((resolve) => victim.once('listening', resolve));
    const host = `127.0.0.1:${(victim.address() as { port: number }).port}`;
    const app = await startWithTokens();
    const body = payload('harbor').replaceAll('harbor.example.com', host);
    const hook = await ask(app, '/hooks/harbor', { body, headers: HARBOR_SECRET });
    expect([hook.status, hook.body]).toEqual([200, { accepted: 0, dropped: 1, ignored: 0 }]);
    const sync = await ask(app, '/api/v1/conversions?sync=true', { body, headers: HARBOR_SECRET });
    expect([sync.status, sync.body.dropped]).toEqual([200, 1]);
    const asked = await ask(app, '/api/v1/conversions', {
      body: JSON.stringify({ image: `${host}/team/app:1` }),
      headers: WRITE,
    });
    expect([asked.status, asked.body.error.code]).toEqual([400, 'usage']);
    expect(await events(app)).toEqual([]);
    victim.close();
    expect(connections).toBe(0);
  });

  it('100 MB are refused with 413 before they are sent, whether their length is said or not', async () => {
    const app = await start({ config: { service: { hooks: { harbor: {} } } } });
    const before = process.memoryUsage().rss;
    const block = Buffer.alloc(1024 * 1024, 0x20);
    const starts = [
      ['Content-Length: 104857600', ''],
      ['Transfer-Encoding: chunked', `100001\r\n${block.toString()}x\r\n`],
    ] as const;
    for (const [head, body] of starts) {
      const socket = connect(app.port, '127.0.0.1').on('error', () => undefined);
      const answer = once(socket, 'data') as Promise<[Buffer]>;
      const closed = new Promise((resolve) => socket.once('close', resolve));
      socket.write(
        `POST /hooks/harbor HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n${head}\r\n\r\n${body}`,
      );
      expect(String((await answer)[0])).toMatch(/^HTTP\/1.1 413 [\s\S]*"code":"too-large"/);
      // One that sends all the same is cut off.
      for (let count = 0; count < 100 && !socket.destroyed; count += 1) {
        socket.write(block);
        await delay(1);
      }
      await closed;
    }
    expect((await ask(app, '/healthz')).status).toBe(200);
    expect(process.memoryUsage().rss - before).toBeLessThan(350e6);
  });
});

describe('the queue refuses', () => {
  const refusing = (refusal: QueueRefusal): Partial<Queue> => {
    const refuse = async (): Promise<never> => {
      throw new QueueError(refusal, 'the queue does not accept');
    };
    return { add: refuse, get: refuse, list: refuse, unready: () => 'the disk is full', close: async () => undefined };
  };

  it.each([
    ['full', 507],
    ['unavailable', 503],
    ['busy', 503],
  ] as const)('%s is %i, and readiness says why', async (refusal, status) => {
    const app = await startWithTokens({}, { queue: refusing(refusal) as Queue });
    const hook = await ask(app, '/hooks/harbor', { body: payload('harbor'), headers: HARBOR_SECRET });
    expect([hook.status, hook.body.error.code, hook.headers.get('retry-after')]).toEqual([
      status,
      `queue-${refusal}`,
      '10',
    ]);
    const old = await ask(app, '/api/v1/conversions', { body: payload('harbor'), headers: HARBOR_SECRET });
    expect(old.status).toBe(status);
    expect((await ask(app, '/api/v1/conversions', { headers: READ })).status).toBe(status);
    expect((await ask(app, '/api/v1/repositories', { headers: READ })).status).toBe(status);
    const ready = await ask(app, '/readyz');
    expect([ready.status, ready.said]).toEqual([503, 'the disk is full\n']);
    const health = await ask(app, '/api/v1/health');
    expect([health.status, health.body.error.message]).toEqual([503, 'the disk is full']);
    expect((await ask(app, '/healthz')).status).toBe(200);
  });
});

describe('the API', () => {
  it('needs a token of the right scope; what a token may not do is 403', async () => {
    const app = await startWithTokens();
    const [{ id } = { id: '' }] = await app.queue.add([conversionJob('1')]);
    const routes = [
      ['GET', '/api/v1/conversions', 'read'],
      ['GET', `/api/v1/conversions/${id}`, 'read'],
      ['GET', '/api/v1/repositories', 'read'],
      ['GET', '/api/v1/agents', 'read'],
      ['GET', '/metrics', 'read'],
      ['POST', `/api/v1/conversions/${id}/retry`, 'write'],
      ['DELETE', `/api/v1/conversions/${id}`, 'write'],
    ] as const;
    for (const [method, path, scope] of routes) {
      const status = async (authorization: string) =>
        (await ask(app, path, { method, headers: { authorization } })).status;
      const statuses = [await status('Bearer wrong'), await status(''), await status('Basic d3JpdGUtdG9rZW4tMQ==')];
      expect([path, statuses]).toEqual([path, [401, 401, 401]]);
      if (scope === 'write') expect([path, await status(READ.authorization)]).toEqual([path, 403]);
      else expect([path, await status(READ.authorization)]).toEqual([path, 200]);
      expect([path, await status(WRITE.authorization)]).toEqual([path, expect.toBeOneOf([200, 202, 409])]);
    }
    const wrong = await ask(app, '/api/v1/conversions', { headers: { authorization: 'Bearer wrong' } });
    expect(wrong.headers.get('www-authenticate')).toMatch(/^Bearer /);
    expect(wrong.said).not.toContain('write-token-1');
  });

  it('conversions: listed, paged, looked at, cancelled, retried', async () => {
    const app = await startWithTokens();
    await app.queue.add(['1', '2', '3'].map((tag) => conversionJob(tag)));
    const get = (path: string) => ask(app, `/api/v1/conversions${path}`, { headers: READ });
    const first = await get('?limit=2');
    expect(first.body.conversions.map(({ tag }: { tag: string }) => tag)).toEqual(['3', '2']);
    const rest = await get(`?limit=2&after=${first.body.next}`);
    expect([rest.body.conversions.map(({ tag }: { tag: string }) => tag), rest.body.next]).toEqual([['1'], undefined]);
    expect((await get('?state=done')).body.conversions).toEqual([]);
    expect((await get('?repository=registry.example.com/team/app')).body.conversions).toHaveLength(3);
    for (const query of [
      '?limit=0',
      '?limit=501',
      '?limit=x',
      '?state=odd',
      '?other=1',
      '?repository=%00',
      '?after=%0d%0a',
      '?state=done&state=failed',
    ])
      expect([query, (await get(query)).status]).toEqual([query, 400]);
    const { id } = first.body.conversions[0];
    expect((await get(`/${id}`)).body).toMatchObject({
      id,
      tag: '3',
      state: 'waiting',
      rule: 1,
      options: { mode: 'full' },
    });
    expect((await get('/unknown')).status).toBe(404);
    expect((await get('/..%2f..')).status).toBe(400);
    const change = (path: string, method: string) => ask(app, `/api/v1/conversions${path}`, { method, headers: WRITE });
    expect((await change(`/${id}/retry`, 'POST')).status).toBe(409);
    expect((await change(`/${id}`, 'DELETE')).body.state).toBe('cancelled');
    expect((await change(`/${id}`, 'DELETE')).status).toBe(409);
    expect((await change('/unknown', 'DELETE')).status).toBe(404);
    const [lease] = await app.queue.take('convert', 1);
    await app.queue.finish(lease!, {
      kind: 'failed',
      failure: { code: 'layer-unsupported', message: 'no', temporary: false },
    });
    expect((await get(`/${lease!.job.id}`)).body).toMatchObject({
      state: 'failed',
      reason: { code: 'layer-unsupported' },
    });
    expect((await change(`/${lease!.job.id}/retry`, 'POST')).body.state).toBe('waiting');
    expect(app.audits.map(({ caller, action, outcome }) => [caller, action, outcome])).toEqual([
      ['ci', 'retry', 'had not failed'],
      ['ci', 'cancel', 'cancelled'],
      ['ci', 'cancel', 'had ended'],
      ['ci', 'retry', 'waiting'],
    ]);
  });

  it('takes a webhook of Harbor with its Authorization where acceleration-service takes it', async () => {
    const app = await startWithTokens();
    const post = (headers: Record<string, string>, body = payload('harbor')) =>
      ask(app, '/api/v1/conversions', { body, headers });
    expect((await post({})).status).toBe(401);
    expect((await post(WRITE)).status).toBe(401);
    expect(await events(app)).toEqual([]);
    const done = await post(HARBOR_SECRET);
    expect([done.status, done.body]).toEqual([202, { accepted: 1, dropped: 0, ignored: 0 }]);
    expect(await events(app)).toMatchObject([{ data: { kind: 'harbor', registry: 'harbor.example.com' } }]);
    const cloud = readFileSync(new URL('harbor-cloudevents.json', FIXTURES), 'utf8');
    expect((await post({ ...HARBOR_SECRET, 'content-type': 'application/cloudevents+json' }, cloud)).status).toBe(202);
    const health = await ask(app, '/api/v1/health');
    expect([health.status, health.said]).toEqual([200, 'Ok']);
  });

  it('answers accelctl of acceleration-service in the forms that it reads', async () => {
    const app = await start({ config: { rules: RULES, service: { hooks: { harbor: {} } } } });
    // The headers of Go's client, and those that pkg/client adds.
    const go = async (method: string, body = '') => {
      const head = `Host: 127.0.0.1\r\nUser-Agent: Go-http-client/1.1\r\nContent-Length: ${body.length}\r\nContent-Type: application/json`;
      const request = `${method} HTTP/1.1\r\n${head}\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n${body}`;
      const [, status, answer] = /^HTTP\/1.1 (\d+) [\s\S]*?\r\n\r\n([\s\S]*)$/.exec(await raw(app, request)) ?? [];
      return [Number(status), JSON.parse(answer!)];
    };
    const create = (url: string) =>
      go(
        'POST /api/v1/conversions?sync=false',
        JSON.stringify({ type: 'PUSH_ARTIFACT', event_data: { resources: [{ resource_url: url }] } }),
      );
    expect(await create('harbor.example.com/team/app:1.4')).toEqual([202, { accepted: 1, dropped: 0, ignored: 0 }]);
    expect(await events(app)).toMatchObject([
      { data: { kind: 'harbor', registry: 'harbor.example.com', repository: 'team/app', tag: '1.4' } },
    ]);
    expect(await create('no reference')).toEqual([
      400,
      expect.objectContaining({ code: 'usage', message: 'a notification that is not of the kind harbor' }),
    ]);
    await app.queue.add([conversionJob('1'), conversionJob('2')]);
    const [lease] = await app.queue.take('convert', 1);
    const failure = { code: 'layer-unsupported', message: 'it cannot be', temporary: false };
    await app.queue.finish(lease!, { kind: 'failed', failure });
    const time = expect.stringMatching(/^20\d\d-.*Z$/);
    const task = { id: expect.any(String), created: time, source_size: 0, target_size: 0 };
    const source = (tag: string) => `registry.example.com/team/app:${tag}`;
    expect(await go('GET /api/v1/conversions')).toEqual([
      200,
      [
        { ...task, source: source('2'), status: 'PROCESSING', reason: '', finished: '0001-01-01T00:00:00Z' },
        { ...task, source: source('1'), status: 'FAILED', reason: 'it cannot be', finished: time },
      ],
    ]);
    // Everybody else's is as it was.
    expect((await ask(app, '/api/v1/conversions')).body.conversions).toHaveLength(2);
    expect(Object.keys((await ask(app, '/api/v1/conversions?limit=0')).body)).toEqual(['error']);
  });

  it('refuses bodies that are not what it describes, and headers that break HTTP', async () => {
    const app = await startWithTokens();
    const post = async (body: string, type = 'application/json') =>
      (await ask(app, '/api/v1/conversions', { body, headers: { ...WRITE, 'content-type': type } })).status;
    for (const body of [
      '',
      '[]',
      '{}',
      'null',
      '{"image":1}',
      '{"image":"a"',
      '{"image":"registry.example.com/team/a:1","__proto__":{}}',
      '{"image":"registry.example.com/team/a:1","x":1}',
    ])
      expect([body, await post(body)]).toEqual([body, 400]);
    expect(await post('{"image":"registry.example.com/team/a:1"}', 'text/plain')).toBe(415);
    expect(await post('{"image":"registry.example.com/team/a"}')).toBe(400);
    expect(await post('{"image":"other.example.com/team/a:1"}')).toBe(400);
    const other = await ask(app, '/api/v1/conversions', { method: 'PUT', headers: WRITE });
    expect([other.status, other.headers.get('allow'), other.body.error.code]).toEqual(
      [405, 'HEAD, GET, POST', 'method-not-allowed'].map((one) =>
        one === 'HEAD, GET, POST' ? expect.stringContaining('POST') : one,
      ),
    );
    // Whatever the method: those that HTTP has, has since lately, and that nobody has.
    for (const method of ['PUT', 'OPTIONS', 'TRACE', 'PROPFIND', 'QUERY', 'FOO', 'get']) {
      const send = (path: string) => raw(app, `${method} ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
      expect([method, await send('/api/v1/conversions?limit=1')]).toEqual([
        method,
        expect.stringMatching(
          /^HTTP\/1.1 405 Method Not Allowed\r\n[\s\S]*allow: POST, GET, HEAD\r\n[\s\S]*"code":"method-not-allowed"/i,
        ),
      ]);
      expect([method, await send('/none')]).toEqual([
        method,
        expect.stringMatching(/^HTTP\/1.1 404 [\s\S]*"not-found"/),
      ]);
    }
    expect(await raw(app, 'CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n')).toMatch(/^HTTP\/1.1 405 [\s\S]*"error"/);
    expect(await raw(app, 'nonsense\r\n\r\n')).toMatch(/^HTTP\/1.1 400 [\s\S]*"error":\{"code":"usage"/);
    expect(await raw(app, `GET / HTTP/1.1\r\nHost: x\r\nX: ${'y'.repeat(20_000)}\r\n\r\n`)).toMatch(/^HTTP\/1.1 431 /);
    expect(await raw(app, 'GET /%zz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')).toMatch(
      /^HTTP\/1.1 400 [\s\S]*"error"/,
    );
    expect(
      await raw(app, `GET /api/v1/conversions/${'x'.repeat(300)} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`),
    ).toMatch(/^HTTP\/1.1 4\d\d [\s\S]*"error"/);
  });

  it('what nobody foresaw is an error without its text', async () => {
    const app = await startWithTokens(
      {},
      {
        agents: async () => {
          throw new Error('with write-token-1 in it');
        },
      },
    );
    const { status, said } = await ask(app, '/api/v1/agents', { headers: READ });
    expect([status, said]).toEqual([500, '{"error":{"code":"internal","message":"internal error"}}']);
  });
});

it('a thousand slow connections do not keep others waiting, and are ended', async () => {
  const app = await start({ parts: { requestTimeout: 2000 } });
  const sockets: Socket[] = [];
  let ended = 0;
  for (let count = 0; count < 1000; count += 1) {
    const socket = connect(app.port, '127.0.0.1');
    socket
      .on('error', () => undefined)
      .on('close', () => (ended += 1))
      .resume();
    socket.write('POST /hooks/harbor HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ');
    sockets.push(socket);
  }
  while (app.connections() < 1000) await delay(10);
  for (let count = 0; count < 20; count += 1) expect((await ask(app, '/healthz')).status).toBe(200);
  while (ended < 1000) await delay(50);
});
