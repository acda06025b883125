/** The holder of sockets, with worker processes of a few lines that answer with their number. */
import { spawn } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { AccelError } from '../../base/error.ts';
import { describeWith } from '../../tests/support/tools.ts';
import { type HeldSocket, holdSockets } from './listening-sockets.ts';
import { Holder, type HolderTimes } from './socket-holder.ts';

const ACTIVATE = 'systemd-socket-activate';
/** A worker: says its number to each connection, and ends as its arguments say. */
const WORKER = `
import { createServer } from 'node:net';
import { appendFileSync, readFileSync } from 'node:fs';
const how = readFileSync(process.argv[2], 'utf8');
if (how === 'ends at once') process.exit(7);
const server = createServer((socket) => {
  socket.on('error', () => undefined);
  if (how === 'is slow') {
    appendFileSync(process.argv[2] + '-asked', '.');
    setTimeout(() => socket.end(String(process.pid)), 300);
  }
  else socket.end(String(process.pid));
});
process.on('SIGTERM', () => undefined);
process.on('disconnect', () => process.exit());
process.on('message', ({ kind }) => {
  if (kind === 'start' && how === 'fails')
    process.send({ kind: 'failed', code: 'usage', message: 'the file is wrong', details: {} }, () => process.exit(1));
  if (kind === 'start' && how !== 'fails') server.listen({ fd: 4 }, () => process.send({ kind: 'serving' }));
  if (kind === 'freeze') process.send({ kind: 'frozen' });
  if (kind === 'drain') server.close(() => process.exit());
});
process.send({ kind: 'loaded' });
`;

let folder: string;
let socket: HeldSocket;
let signals: EventEmitter;
let lines: string[];
let running: Promise<void> | undefined;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'accel-holder-'));
  await writeFile(join(folder, 'worker.mjs'), WORKER);
});
afterAll(() => rm(folder, { recursive: true, force: true }));
beforeEach(async () => {
  [socket] = holdSockets({ clients: { host: '127.0.0.1', port: 0 } }, {}) as [HeldSocket];
  signals = new EventEmitter();
  lines = [];
  running = undefined;
  await rm(join(folder, 'how-asked'), { force: true });
  await behave('serves');
});
afterEach(async () => {
  signals.emit('SIGTERM', 'SIGTERM');
  await running?.catch(() => undefined);
});

const behave = (how: string): Promise<void> => writeFile(join(folder, 'how'), how);

function hold(times: Partial<HolderTimes> = {}, beforeReload = async (): Promise<void> => undefined): Promise<void> {
  running = new Holder({
    sockets: [socket],
    command: [process.execPath, join(folder, 'worker.mjs'), join(folder, 'how')],
    environment: process.env,
    signals,
    // No worker here takes long but those that a busy machine holds up.
    drain: 30_000,
    log: (line) => void lines.push(line),
    beforeReload,
    times: { standbyAfter: 0, settled: 0, firstBackOff: 20, longestBackOff: 100, ...times },
  }).run();
  return running;
}

/** The number of the worker that answers; rejects where the connection is refused or reset. */
function ask(): Promise<number> {
  return new Promise((resolve, reject) => {
    const client = connect(socket.port, '127.0.0.1');
    let text = '';
    client.on('data', (chunk: Buffer) => (text = `${text}${chunk}`));
    client.on('error', reject);
    client.on('end', () => (text === '' ? reject(new Error('an empty answer')) : resolve(Number(text))));
  });
}

async function until(what: string, check: () => boolean | Promise<boolean>): Promise<void> {
  for (const end = performance.now() + 120_000; !(await check()); await sleep(5)) {
    if (performance.now() > end) throw new Error(`waited in vain until ${what}:\n${lines.join('\n')}`);
  }
}
const logged = (pattern: RegExp): boolean => lines.some((line) => pattern.test(line));
/** Whether a slow worker has a connection. */
const wasAsked = (): boolean => existsSync(join(folder, 'how-asked'));
const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

describe('a holder', () => {
  it('refuses connections before the first worker serves, and answers from then on', async () => {
    await expect(ask()).rejects.toThrow('ECONNREFUSED');
    void hold();
    await until('a worker serves', () => logged(/serves/));
    expect(await ask()).not.toBe(process.pid);
  });

  it('replaces a worker that is killed by the one that waits', async () => {
    void hold();
    await until('the next worker is loaded', () => logged(/ready to take over/));
    const waiting = Number(/worker (\d+) is ready/.exec(lines.join('\n'))?.[1]);
    process.kill(await ask(), 'SIGKILL');
    expect(await ask()).toBe(waiting);
  });

  it('lets connections wait while there is no worker', async () => {
    void hold({ standbyAfter: 60_000 });
    await until('a worker serves', () => logged(/serves/));
    const first = await ask();
    process.kill(first, 'SIGKILL');
    const answers = await Promise.all(Array.from({ length: 20 }, ask));
    expect(new Set(answers).size).toBe(1);
    expect(answers[0]).not.toBe(first);
  });

  it('replaces a worker on SIGHUP, and the old one finishes what it has begun', async () => {
    await behave('is slow');
    void hold();
    await until('a worker serves', () => logged(/serves/));
    const first = await ask();
    const slow = ask();
    await until('the worker has the connection', wasAsked);
    await behave('serves');
    signals.emit('SIGHUP', 'SIGHUP');
    expect(await slow).toBe(first);
    await until('the old worker has ended', () => !isAlive(first));
    expect(await ask()).not.toBe(first);
    expect(logged(/did not start|all stays/)).toBe(false);
  });

  it.each([
    ['a worker that gives up', 'fails', /all stays as it was: the file is wrong/],
    ['a worker that ends', 'ends at once', /all stays as it was: the new worker did not start/],
  ])('keeps the worker when SIGHUP starts %s', async (_, how, line) => {
    void hold();
    await until('a worker serves', () => logged(/serves/));
    const first = await ask();
    await behave(how);
    signals.emit('SIGHUP', 'SIGHUP');
    await until('it is logged', () => logged(line));
    expect(await ask()).toBe(first);
  });

  it('keeps the worker when a reload must not happen', async () => {
    const problem = new AccelError('usage', 'invalid configuration', { where: { file: 'accel.yaml', line: 3 } });
    void hold({}, () => Promise.reject(problem));
    await until('a worker serves', () => logged(/serves/));
    const first = await ask();
    signals.emit('SIGHUP', 'SIGHUP');
    await until('it is logged', () => logged(/all stays as it was: invalid configuration \(file accel.yaml, line 3\)/));
    expect(await ask()).toBe(first);
  });

  it('waits longer and longer between workers that end at once, resets connections meanwhile, and recovers', async () => {
    void hold({ standbyAfter: 60_000, settled: 60_000, patience: 300 });
    await until('a worker serves', () => logged(/serves/));
    const first = await ask();
    await behave('ends at once');
    process.kill(first, 'SIGKILL');
    await until('the wait is at its longest', () => logged(/the next one in 100 ms/));
    const waits = lines.flatMap((line) => /the next one in (\d+) ms/.exec(line)?.[1] ?? []);
    expect(waits.slice(0, 4)).toEqual(['20', '40', '80', '100']);
    await until('connections are reset', () =>
      ask().then(
        () => false,
        ({ code }) => code === 'ECONNRESET',
      ),
    );
    await behave('serves');
    await until('a worker serves again', () =>
      ask().then(
        (pid) => pid !== first,
        () => false,
      ),
    );
  });

  it('fails with the error of a first worker that does not serve', async () => {
    await behave('fails');
    await expect(hold()).rejects.toMatchObject({ code: 'usage', message: 'the file is wrong' });
    await expect(ask()).rejects.toThrow('ECONNREFUSED');
  });

  it('ends on SIGTERM: refuses connections at once, and finishes those that it has', async () => {
    await behave('is slow');
    const end = hold();
    await until('a worker serves', () => logged(/serves/));
    const slow = ask();
    await until('the worker has the connection', wasAsked);
    signals.emit('SIGTERM', 'SIGTERM');
    await until('it refuses', () =>
      ask().then(
        () => false,
        ({ code }) => code === 'ECONNREFUSED',
      ),
    );
    expect(await slow).toBeGreaterThan(0);
    await end;
  });

  it('an address that is taken is an error with the address', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    const { port } = other.address() as { port: number };
    expect(() => holdSockets({ clients: { host: '127.0.0.1', port } }, {})).toThrow(
      expect.objectContaining({ code: 'io-error', where: { address: `127.0.0.1:${port}` } }),
    );
    other.close();
  });
});

describeWith({ tools: [ACTIVATE] }, 'under an init system that holds the sockets', () => {
  it('answers a connection that was made before it was started', async () => {
    const port = socket.port;
    socket.close();
    const program = join(folder, 'activated.mts');
    const module = (name: string) => JSON.stringify(new URL(`./${name}.ts`, import.meta.url).href);
    await writeFile(
      program,
      `import { holdSockets } from ${module('listening-sockets')};
import { Holder } from ${module('socket-holder')};
const sockets = holdSockets({ clients: { host: '127.0.0.1', port: ${port} } }, process.env);
if (!sockets[0].isPassed || process.env.LISTEN_FDS !== undefined) process.exit(3);
await new Holder({ sockets, command: [process.execPath, ...process.argv.slice(2)], environment: process.env, signals: process,
  drain: 1000, log: () => undefined, beforeReload: async () => undefined }).run();
`,
    );
    const child = spawn(
      ACTIVATE,
      ['-l', `127.0.0.1:${port}`, process.execPath, program, join(folder, 'worker.mjs'), join(folder, 'how')],
      { stdio: 'ignore' },
    );
    const gone = once(child, 'exit');
    try {
      let answer: number | undefined;
      await until('it listens', () =>
        ask().then(
          (pid) => {
            answer = pid;
            return true;
          },
          () => false,
        ),
      );
      expect(answer).not.toBe(child.pid);
      process.kill(answer!, 'SIGKILL');
      expect(await ask()).not.toBe(answer);
    } finally {
      child.kill('SIGTERM');
      await gone;
    }
  });
});
