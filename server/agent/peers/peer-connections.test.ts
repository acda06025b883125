/** Tests how requests to one node share its connections. */
import { once } from 'node:events';
import http from 'node:http';
import net, { type AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createAuthority } from '../../certificates/authority.ts';
import { issueNodeCertificate } from '../certificates.ts';
import { ExchangeClient } from './exchange-client.ts';
import { HEADER } from './wire.ts';

const DIGEST = `sha256:${'a'.repeat(64)}`;
const QUESTION = {
  blob: { digest: DIGEST, size: 2 ** 31, url: new URL('http://reg.example/v2/a/blobs/x'), authorization: undefined },
  role: 'tree' as const,
  via: [],
  view: 'v',
};

describe('requests to one node at the same time', () => {
  let server: http.Server;
  let client: ExchangeClient;
  let connections: number;
  let handle: (request: http.IncomingMessage, response: http.ServerResponse) => void;
  beforeEach(async () => {
    connections = 0;
    handle = echo;
    server = http.createServer((request, response) => handle(request, response));
    server.on('connection', () => (connections += 1));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    client = new ExchangeClient({ id: '10.0.0.9:65002', zone: '' }, undefined);
  });
  afterEach(async () => {
    client.close();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });

  const ask = (index: number, signal?: AbortSignal) =>
    client.piece(
      { id: `127.0.0.1:${(server.address() as AddressInfo).port}`, zone: '' },
      { ...QUESTION, index, signal },
    );
  const askMany = (count: number) => Promise.all(Array.from({ length: count }, (_, index) => ask(index)));
  const texts = (answers: readonly Awaited<ReturnType<typeof ask>>[]) =>
    answers.map((answer) => (answer.kind === 'piece' ? answer.bytes.toString() : answer.kind));
  const numbers = (count: number) => Array.from({ length: count }, (_, index) => String(index));

  it('get their own answers', async () => {
    expect(texts(await askMany(100))).toEqual(numbers(100));
  });

  it('begin four handshakes', async () => {
    const day = 86_400_000;
    const validity = { from: new Date(Date.now() - day), to: new Date(Date.now() + day) };
    const authority = await createAuthority('test', validity);
    const identity = { ca: authority.cert, ...(await issueNodeCertificate(authority, '10.0.0.9:65002', validity)) };
    const begun: net.Socket[] = [];
    const mute = net.createServer((socket) => begun.push(socket)).listen(0, '127.0.0.1');
    await once(mute, 'listening');
    const deadlines = { connect: 5000, silence: 500, piece: 5000 };
    const own = new ExchangeClient({ id: '10.0.0.9:65002', zone: '' }, identity, { deadlines });
    const peer = { id: `127.0.0.1:${(mute.address() as AddressInfo).port}`, zone: '' };
    const answers = await Promise.all(
      numbers(20).map((index) => own.piece(peer, { ...QUESTION, index: Number(index) })),
    );
    for (const answer of answers) expect(answer).toMatchObject({ kind: 'dead' });
    expect(begun).toHaveLength(4);
    own.close();
    mute.close();
  });

  it('do not wait for answers of others', async () => {
    const held: (() => void)[] = [];
    handle = (request, response) => {
      held.push(() => echo(request, response));
      if (held.length === 100) for (const answer of held) answer();
    };
    expect(texts(await askMany(100))).toEqual(numbers(100));
    expect(connections).toBe(100);
  });

  it('all fail where nobody listens', async () => {
    const { port } = server.address() as AddressInfo;
    await new Promise((resolve) => server.close(resolve));
    const peer = { id: `127.0.0.1:${port}`, zone: '' };
    const answers = numbers(20).map((index) => client.piece(peer, { ...QUESTION, index: Number(index) }));
    for (const answer of await Promise.all(answers)) expect(answer).toMatchObject({ kind: 'dead' });
    server.listen(0, '127.0.0.1');
  });

  it('are not failed by one that was given up while its connection was made', async () => {
    for (let round = 0; round < 20; round++) {
      const gone = new AbortController();
      const left = ask(0, gone.signal);
      gone.abort(new Error('left'));
      const stays = ask(round);
      await expect(left).rejects.toThrow('left');
      expect(texts([await stays])).toEqual([String(round)]);
    }
  });
});

function echo(request: http.IncomingMessage, response: http.ServerResponse): void {
  const body = /\d+$/.exec(request.url ?? '')?.[0] ?? '';
  response.writeHead(200, { 'content-length': body.length, [HEADER.pieceSize]: body.length }).end(body);
}
