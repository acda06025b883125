/** Tests who makes room where too many connections are open. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { afterEach, expect, it } from 'vitest';
import { boundConnections } from './bound-connections.ts';

const server = createServer();
const sockets: Socket[] = [];
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
  server.closeAllConnections();
  server.removeAllListeners('request');
});

async function open(): Promise<{ readonly socket: Socket; readonly closed: () => boolean }> {
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
  socket.on('error', () => undefined);
  socket.resume();
  sockets.push(socket);
  const arrived = once(server, 'connection');
  await Promise.all([once(socket, 'connect'), arrived]);
  return { socket, closed: () => socket.closed };
}

const ask = ({ socket }: { readonly socket: Socket }) => socket.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n');

it('the one that has been idle for longest, never one with a request; the new one where all are busy', async () => {
  let ended = 0;
  boundConnections(server, { most: 3, onEnded: () => (ended += 1) });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const answers: ServerResponse[] = [];
  server.on('request', (_: IncomingMessage, response: ServerResponse) => void answers.push(response));
  const busy = await open();
  ask(busy);
  await expect.poll(() => answers.length).toBe(1);
  const served = await open();
  ask(served);
  await expect.poll(() => answers.length).toBe(2);
  const silent = await open();
  answers[1]!.end();
  await expect.poll(() => answers[1]!.closed).toBe(true);
  // The silent one has been idle since before the served one was.
  const fourth = await open();
  await expect.poll(silent.closed).toBe(true);
  const fifth = await open();
  await expect.poll(served.closed).toBe(true);
  ask(fourth);
  ask(fifth);
  await expect.poll(() => answers.length).toBe(4);
  const sixth = await open();
  await expect.poll(sixth.closed).toBe(true);
  expect([busy, fourth, fifth].map(({ closed }) => closed())).toEqual([false, false, false]);
  expect(ended).toBe(3);
  server.close();
});
