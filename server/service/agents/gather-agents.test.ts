/** Agents that answer, lie, hang and are gone, over real sockets. */
import { createServer, type RequestListener } from 'node:http';
import { afterEach, expect, it } from 'vitest';
import { freePort, type Loopback, listen } from '../../../tests/support/loopback.ts';
import { gatherAgents } from './gather-agents.ts';

const running: Loopback[] = [];
afterEach(async () => {
  for (const one of running.splice(0)) await one.stop();
});
async function serve(listener: RequestListener): Promise<string> {
  const server = await listen(createServer(listener));
  running.push(server);
  return `http://${server.host}`;
}
/** As docs/metrics.md describes it. */
const report = (node: string, more: object = {}) =>
  JSON.stringify({
    schemaVersion: 1,
    node,
    zone: 'a',
    version: '0.2.0',
    started: '2026-11-02T08:15:30Z',
    unready: null,
    members: 2,
    bytes: { toClients: 30, toPeers: 5, fromPeers: 20, fromOrigin: 10 },
    cache: { allocated: 100, used: 10, memory: 5, pieces: 1 },
    images: [
      {
        registry: 'r.io',
        repository: 'app',
        toClients: 30,
        toPeers: 5,
        fromPeers: 20,
        fromOrigin: 10,
        blobs: 1,
        lastUsed: '2026-11-02T08:15:30Z',
      },
    ],
    ...more,
  });

it('adds up what answers, and says of each that does not why', async () => {
  let secret = 0;
  const elsewhere = await serve((_, response) => {
    secret += 1;
    response.end(report('elsewhere'));
  });
  const urls = [
    await serve((request, response) => response.end(request.url === '/api/v1/agent' ? report('10.0.0.1:65002') : '')),
    await serve((_, response) => response.end(report('10.0.0.2:65002', { unready: 'the cache is full' }))),
    await serve((_, response) => response.end('{"node": 1}')),
    await serve((_, response) => response.writeHead(404).end()),
    await serve((_, response) => response.writeHead(302, { location: elsewhere }).end()),
    await serve((_, response) => response.end(report('long', { more: 'x'.repeat(2 * 1024 * 1024) }))),
    await serve(() => undefined),
    `http://127.0.0.1:${await freePort()}`,
  ];
  const { agents, images } = await gatherAgents(() => ({ urls }))();
  const problems = Object.fromEntries(agents.map(({ node, reachable, problem }) => [node, [reachable, problem]]));
  const host = (index: number): string => new URL(urls[index]!).host;
  expect(problems).toEqual({
    '10.0.0.1:65002': [true, undefined],
    '10.0.0.2:65002': [true, 'the cache is full'],
    [host(2)]: [false, 'the answer is not the report of an agent'],
    [host(3)]: [false, 'HTTP 404'],
    [host(4)]: [false, 'no answer'],
    [host(5)]: [false, 'no answer'],
    [host(6)]: [false, 'no answer within 3 s'],
    [host(7)]: [false, 'no answer'],
  });
  expect(secret).toBe(0);
  expect(images).toEqual([{ image: 'r.io/app', nodes: 2, toClients: 60, fromPeers: 40, fromOrigin: 20 }]);
});

it('passes on what an agent says of itself and its peers, bounded; earlier versions say nothing', async () => {
  const peers = Array.from({ length: 30 }, (_, at) => ({
    node: `10.0.0.${at}:65002`,
    lastError: 'refused',
    at: '2026-11-02T08:15:30Z',
  }));
  const urls = [
    await serve((_, response) => response.end(report('a', { degraded: ['cache: EROFS', 'x'.repeat(5000)], peers }))),
    await serve((_, response) => response.end(report('b'))),
    await serve((_, response) => response.end(report('c', { degraded: [1] }))),
  ];
  const { agents } = await gatherAgents(() => ({ urls }))();
  const [bad, a, b] = [agents.find(({ reachable }) => !reachable), ...agents.filter(({ reachable }) => reachable)];
  expect(a).toMatchObject({ node: 'a', degraded: ['cache: EROFS', 'x'.repeat(1024)], peers: peers.slice(0, 20) });
  expect(b).toMatchObject({ node: 'b', degraded: [], peers: [] });
  expect(bad?.problem).toBe('the answer is not the report of an agent');
});

it('asks once for many who look, and again for another configuration', async () => {
  let asked = 0;
  const url = await serve((_, response) => {
    asked += 1;
    response.end(report('a'));
  });
  let settings = { urls: [url] };
  const gather = gatherAgents(() => settings);
  await Promise.all([gather(), gather(), gather()]);
  expect(asked).toBe(1);
  settings = { urls: [] };
  expect((await gather()).agents).toEqual([]);
});

it('asks a bounded number at a time', async () => {
  let [now, most] = [0, 0];
  const url = await serve((_, response) => {
    most = Math.max(most, ++now);
    setTimeout(() => {
      now -= 1;
      response.end(report('a'));
    }, 20);
  });
  const { agents } = await gatherAgents(() => ({ urls: Array.from({ length: 100 }, () => url) }))();
  expect([agents.length, most <= 32, most > 1]).toEqual([100, true, true]);
});

it('a name that resolves to nothing is said', async () => {
  expect(await gatherAgents(() => ({ dns: 'agents.invalid' }))()).toEqual({
    agents: [],
    images: [],
    problem: 'agents.invalid does not resolve',
  });
});
