/** A node that says that it lives, or sends a byte now and then, is left for the next one. */
import { once } from 'node:events';
import http, { type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { ExchangeClient } from './exchange-client.ts';
import { type Pace, PaceWatch, PeerPace } from './peer-pace.ts';

const DIGEST = `sha256:${'a'.repeat(64)}`;
const SIZE = 1000;
const blob = { digest: DIGEST, size: SIZE, url: new URL(`http://reg.example/v2/a/blobs/${DIGEST}`) };

let server: http.Server | undefined;
afterEach(() => {
  server?.closeAllConnections();
  server?.close();
});

/** Asks a node that answers like this; a piece may take 1 s, and its pace is looked at each 100 ms. */
async function ask(answer: (response: ServerResponse) => void, pace: Pace) {
  server = http.createServer((_, response) => answer(response));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const id = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const deadlines = { connect: 1000, silence: 1000, piece: 1000, pace: 100 };
  const client = new ExchangeClient({ id: '127.0.0.1:1', zone: '' }, undefined, { deadlines });
  const question = { blob, index: 0, role: 'owner' as const, via: [], view: 'v', pace };
  try {
    return await client.piece({ id, zone: '' }, question);
  } finally {
    client.close();
  }
}

const lives = (response: ServerResponse) => {
  const timer = setInterval(() => response.writeProcessing(), 20);
  response.on('close', () => clearInterval(timer));
};
const trickles = (response: ServerResponse) => {
  response.writeHead(200, { 'content-length': SIZE, 'x-accel-piece-size': SIZE });
  const timer = setInterval(() => response.write('x'), 20);
  response.on('close', () => clearInterval(timer));
};
const owner: Pace = { holds: false, distrusted: () => false };

describe('a request', () => {
  it.each<[string, (response: ServerResponse) => void, Pace, object]>([
    ['signs of life of a holder', lives, { ...owner, holds: true }, { kind: 'slow' }],
    ['signs of life of a distrusted node', lives, { ...owner, distrusted: () => true }, { kind: 'slow' }],
    ['signs of life of an owner, to the deadline', lives, owner, { kind: 'dead', reason: 'the answer takes too long' }],
    ['a byte now and then', trickles, owner, { kind: 'slow' }],
  ])('%s', async (_, answer, pace, expected) => {
    expect(await ask(answer, pace)).toMatchObject(expected);
  });

  it('a holder that sends the piece', async () => {
    const send = (response: ServerResponse) =>
      void response.writeHead(200, { 'content-length': SIZE, 'x-accel-piece-size': SIZE }).end(Buffer.alloc(SIZE));
    expect(await ask(send, { ...owner, holds: true })).toMatchObject({ kind: 'piece' });
  });
});

describe('the pace', () => {
  const watch = (pace: Pace) => new PaceWatch(pace, { length: 600, within: 30_000, every: 5_000 });

  it('is that of a piece in its whole time, from the first look after it began', () => {
    const slow = watch(owner);
    expect(slow.isTooSlow()).toBe(false);
    slow.received(1);
    expect(slow.isTooSlow()).toBe(false);
    slow.received(101);
    expect(slow.isTooSlow()).toBe(false);
    slow.received(200);
    expect(slow.isTooSlow()).toBe(true);
  });

  it('is asked of a holder from the start', () => {
    const holder = watch({ ...owner, holds: true });
    holder.received(99);
    expect(holder.isTooSlow()).toBe(true);
    expect(watch({ ...owner, holds: true }).isTooSlow()).toBe(true);
    expect(watch(owner).isTooSlow()).toBe(false);
  });

  it('is asked of an owner that has nothing once it is distrusted', () => {
    const waiting = watch(owner);
    expect([waiting.isTooSlow(), waiting.isTooSlow()]).toEqual([false, false]);
    const pace = new PeerPace();
    const asked = watch(pace.of('one', false));
    expect(asked.isTooSlow()).toBe(false);
    pace.distrust('one');
    expect([asked.isTooSlow(), pace.isDistrusted('one'), pace.isDistrusted('other')]).toEqual([true, true, false]);
  });
});
