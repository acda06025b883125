/** A real PostgreSQL for tests: a cluster of its own in a temporary folder, on a loopback port, gone afterwards. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, chown, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { freePort } from './loopback.ts';
import { isRoot, requireTool, run } from './tools.ts';

/** A running server. */
export interface TestPostgres {
  /** `postgres://USER:PASSWORD@127.0.0.1:PORT/postgres`. */
  readonly url: string;
  /** Makes an empty database; its URL. */
  database(name: string): Promise<string>;
  /** Runs statements in a database. */
  sql(url: string, statements: string): Promise<void>;
  /** Ends the server as an administrator would, immediately. */
  down(): Promise<void>;
  /** Starts it again. */
  up(): Promise<void>;
  /** Ends it and removes its files. */
  stop(): Promise<void>;
}

/** The tools that {@link startPostgres} needs, for describeWith. */
export const POSTGRES_TOOLS: readonly string[] = ['initdb', 'postgres', 'psql'];

/** Starts a server; `durable`: its commits are on disk, which tests need not wait for. Throws where PostgreSQL is not installed. */
export async function startPostgres({ durable = false } = {}): Promise<TestPostgres> {
  const folder = await mkdtemp(join(tmpdir(), 'accel-postgres-'));
  // PostgreSQL refuses to run as root.
  const owner = isRoot() ? { uid: idOf('-u'), gid: idOf('-g') } : {};
  if (owner.uid !== undefined) {
    await chown(folder, owner.uid, owner.gid);
    await chmod(folder, 0o700);
  }
  const data = join(folder, 'data');
  const start = (tool: string, args: readonly string[]): ChildProcess =>
    spawn(requireTool(tool), args, { ...owner, cwd: folder, stdio: 'ignore', env: { ...process.env, LC_ALL: 'C' } });
  const made = start('initdb', ['-D', data, '-A', 'trust', '-U', 'accel', '--no-sync', '-E', 'UTF8']);
  const [code] = await once(made, 'exit');
  if (code !== 0) throw new Error(`initdb ended with ${code}`);
  const port = await freePort();
  const url = `postgres://accel:not-secret@127.0.0.1:${port}/postgres`;
  let server: ChildProcess | undefined;
  const psql = (sql: string, at = url) =>
    run('psql', ['-X', '-q', '-v', 'ON_ERROR_STOP=1', '-c', sql, at], { timeout: durable ? 280_000 : 120_000 });
  const up = async (): Promise<void> => {
    const settings = ['listen_addresses=127.0.0.1', `unix_socket_directories=${folder}`, 'jit=off'];
    if (!durable) settings.push('fsync=off');
    server = start('postgres', ['-D', data, '-p', String(port), ...settings.flatMap((one) => ['-c', one])]);
    for (let tries = 0; ; tries++) {
      try {
        await psql('SELECT 1');
        return;
      } catch (error) {
        if (tries === 1200) throw error;
        await delay(100);
      }
    }
  };
  const down = async (): Promise<void> => {
    if (server === undefined || server.exitCode !== null) return;
    const ended = once(server, 'exit');
    server.kill('SIGQUIT');
    await ended;
  };
  await up();
  return {
    url,
    async database(name) {
      await psql(`CREATE DATABASE ${name}`);
      return url.replace(/postgres$/, name);
    },
    async sql(at, statements) {
      await psql(statements, at);
    },
    down,
    up,
    async stop() {
      await down();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

function idOf(flag: '-u' | '-g'): number {
  return Number(execFileSync('id', [flag, 'nobody'], { encoding: 'utf8' }));
}
