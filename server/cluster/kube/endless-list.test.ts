import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, it } from 'vitest';
import { KubeClient } from '../kube.ts';
import { RESOURCES } from './kube-resources.ts';
import { KubeWatch, type WatchRestart } from './kube-watch.ts';

const stops: (() => Promise<unknown> | unknown)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop();
});

/** A client of a server that answers a list's page after `token`, and how often it was asked. */
async function serve(page: (token: string | null) => { readonly next: string; readonly names: readonly string[] }) {
  let asked = 0;
  const server = createServer((request, response) => {
    asked += 1;
    const { next, names } = page(new URL(request.url ?? '', 'http://x').searchParams.get('continue'));
    const items = names.map((name) => ({ metadata: { name } }));
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ metadata: { resourceVersion: '7', continue: next }, items }));
  });
  server.listen(0, '127.0.0.1');
  stops.push(() => server.close());
  await once(server, 'listening');
  const client = await KubeClient.open({
    server: new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`),
    pem: {},
    insecure: false,
    authorization: () => Promise.resolve(undefined),
    namespace: undefined,
  });
  stops.push(() => client.close());
  return { client, asked: () => asked };
}

it('reads pages to their end, also empty ones', async () => {
  const { client } = await serve((token) => ({
    next: token === null ? 'a' : token === 'a' ? 'b' : '',
    names: token === 'a' ? [] : [token ?? 'first'],
  }));
  const names: string[] = [];
  expect(await client.list(RESOURCES.namespaces, {}, ({ metadata }) => names.push(metadata.name))).toBe('7');
  expect(names).toEqual(['first', 'b']);
});

it('gives up a page that names itself as the next', async () => {
  const { client, asked } = await serve(() => ({ next: 'same', names: ['one'] }));
  await expect(client.list(RESOURCES.secrets, { namespace: 'shop' }, () => undefined)).rejects.toMatchObject({
    code: 'cluster-error',
    reason: 'endless',
    message: expect.stringContaining('the list of secrets has no end'),
    hint: expect.stringContaining('proxy'),
  });
  expect(asked()).toBe(2);
});

it('gives up after two thousand pages', async () => {
  const { client, asked } = await serve((token) => ({ next: String(Number(token ?? 0) + 1), names: ['one'] }));
  await expect(client.list(RESOURCES.namespaces, {}, () => undefined)).rejects.toMatchObject({ reason: 'endless' });
  expect(asked()).toBe(2_000);
});

it('a watch says so, counts it, and waits longer each time', async () => {
  const { client, asked } = await serve(() => ({ next: 'same', names: ['one'] }));
  const restarts: WatchRestart[] = [];
  const lines: string[] = [];
  const watch = new KubeWatch(client, {
    resource: RESOURCES.namespaces,
    project: () => true,
    onRestart: (reason) => restarts.push(reason),
    log: (line) => lines.push(line),
    random: () => 1,
  });
  stops.push(() => watch.close());
  await expect.poll(() => restarts.length).toBe(2);
  expect(restarts).toEqual(['failed', 'failed']);
  expect(lines).toEqual([expect.stringContaining('the list of namespaces has no end')]);
  expect(watch.isSynced).toBe(false);
  expect(asked()).toBe(4);
});
