import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeAll, beforeEach, expect, it } from 'vitest';

const MAIN = fileURLToPath(new URL('../dist/program/main.js', import.meta.url));

/** A registry that takes connections and never says a word. */
let silent: Server;
const sockets = new Set<Socket>();
let folder: string;

beforeAll(() => {
  if (!existsSync(MAIN)) throw new Error('there is no dist/program/main.js: run npm run build');
});

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'accel-main-test-'));
  silent = createServer((socket) => sockets.add(socket));
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
});

afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  sockets.clear();
  await new Promise((resolve) => silent.close(resolve));
  await rm(folder, { recursive: true });
});

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function start(...args: string[]): { child: ChildProcess; ended: Promise<Ended> } {
  const child = spawn(process.execPath, [MAIN, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  const text = { stdout: '', stderr: '' };
  child.stdout?.on('data', (part: Buffer) => (text.stdout += part));
  child.stderr?.on('data', (part: Buffer) => (text.stderr += part));
  const ended = new Promise<Ended>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, ...text }));
  });
  return { child, ended };
}

function waiting() {
  const { port } = silent.address() as AddressInfo;
  return start('convert', '-r', `127.0.0.1:${port}/app`, '-i', 'latest', '--plain', '-d', folder);
}

it.each(['SIGINT', 'SIGTERM'] as const)('%s ends a conversion with 130 and nothing left behind', async (signal) => {
  const { child, ended } = waiting();
  // Whichever comes first: a command that ends without asking the registry fails here, not by a timeout.
  await Promise.race([new Promise((resolve) => silent.once('connection', resolve)), ended]);
  child.kill(signal);
  const { code, stdout, stderr } = await ended;
  expect(code).toBe(130);
  expect(stderr).toContain('cleaning up');
  expect(stderr).toContain('error [aborted]');
  expect(stdout).toBe('');
  expect(await readdir(folder)).toEqual([]);
});

it('a reader that goes away is no error', async () => {
  const { child, ended } = start('convert', '--help');
  child.stdout?.destroy();
  const { code, stderr } = await ended;
  expect(code).toBe(0);
  expect(stderr).toBe('');
});

it('a mistyped flag exits 2 and says what was meant', async () => {
  const { code, stderr } = await start('convert', '--platfrom', 'x').ended;
  expect(code).toBe(2);
  expect(stderr).toContain('Did you mean --platform?');
});
