/** The service whole, as a process: real registry, real stores. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest';
import { buildLayout } from '../../fixtures/image-builder.ts';
import { smallTar } from '../../tests/support/converter.ts';
import { POSTGRES_TOOLS, startPostgres, type TestPostgres } from '../../tests/support/postgres.ts';
import { startRegistry, type TestRegistry } from '../../tests/support/registry.ts';
import { describeWith, run, type TempDirectory, tempDirectory } from '../../tests/support/tools.ts';
import { verify } from '../../verify/verify-by-name.ts';
import { eventJob, type PushEvent } from './push-event.ts';
import { openSqliteQueue } from './sqlite.ts';

// Processes that start and convert: a busy machine takes its time.
vi.setConfig({ testTimeout: 240_000 });

/** Starts the service, takes events from standard input, one a line, and says when each is accepted. */
const PROGRAM = `
import { createInterface } from 'node:readline';
import { run } from ${JSON.stringify(new URL('../main.ts', import.meta.url).href)};
import { startService } from ${JSON.stringify(new URL('./service.ts', import.meta.url).href)};
const role = async (context) => {
  const { events, queue } = await startService(process.argv[3], context);
  const answer = (value) => process.stdout.write(JSON.stringify(value) + '\\n');
  createInterface({ input: process.stdin }).on('line', (line) => {
    const { n, event, list } = JSON.parse(line);
    const work = list ? queue.list(list) : events.accept([event]);
    work.then((value) => answer({ n, value }), (error) => answer({ n, refused: error.refusal ?? error.code }));
  });
  process.stdout.write('"ready"\\n');
};
await run({ role: 'test', config: process.argv[2], check: false }, { stderr: process.stderr, signals: process, roles: { test: role } });
// Its standard input is still open.
process.exit(0);
`;

/** A running service. */
class Program {
  readonly child: ChildProcess;
  log = '';
  readonly #answers = new Map<number, (answer: { value?: unknown; refused?: string }) => void>();
  readonly #started: Promise<void>;
  #next = 0;

  constructor(program: string, config: string, role: string) {
    this.child = spawn(process.execPath, [program, config, role], { stdio: ['pipe', 'pipe', 'pipe'] });
    this.child.stdin!.on('error', () => undefined);
    this.child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.log += text;
    });
    this.#started = new Promise((resolve, reject) => {
      createInterface({ input: this.child.stdout! }).on('line', (line) => {
        const answer = JSON.parse(line);
        if (answer === 'ready') resolve();
        else this.#answers.get(answer.n)?.(answer);
      });
      this.child.once('close', (code, signal) => reject(new Error(`ended: ${code ?? signal}\n${this.log}`)));
    });
    this.#started.catch(() => undefined);
  }

  ready(): Promise<void> {
    return this.#started;
  }

  ask(request: object): Promise<{ value?: unknown; refused?: string }> {
    const n = this.#next++;
    return new Promise((resolve) => {
      this.#answers.set(n, resolve);
      this.child.stdin!.write(`${JSON.stringify({ n, ...request })}\n`);
    });
  }

  async jobs(state?: string): Promise<{ key: string; state: string; result?: unknown; failure?: unknown }[]> {
    const list = { topic: 'convert', limit: 500, ...(state === undefined ? {} : { state }) };
    return (await this.ask({ list })).value as never;
  }

  async end(signal: NodeJS.Signals): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const ended = once(this.child, 'exit');
    this.child.kill(signal);
    await ended;
  }
}

async function until<T>(look: () => Promise<T | undefined>, what: () => string): Promise<T> {
  for (let tries = 0; tries < 1200; tries++) {
    const found = await look();
    if (found !== undefined) return found;
    await delay(100);
  }
  throw new Error(`did not happen: ${what()}`);
}

describeWith({ tools: ['docker-registry', 'skopeo'] }, 'the service', () => {
  let registry: TestRegistry;
  let folder: TempDirectory;
  let program: string;
  const running: Program[] = [];
  beforeAll(async () => {
    registry = await startRegistry();
    folder = await tempDirectory();
    program = join(folder.path, 'program.mjs');
    await writeFile(program, PROGRAM);
  });
  afterEach(async () => {
    for (const one of running.splice(0)) await one.end('SIGKILL');
  });
  afterAll(async () => {
    await registry?.stop();
    await folder?.remove();
  });

  const configure = async (store: string, rules: string): Promise<string> => {
    const path = join(folder.path, `config-${Math.random()}.yaml`);
    const text = [
      `registries: [{ host: "${registry.host}", plain: true }]`,
      `rules: ${rules}`,
      `service: { store: "${store}", concurrency: 2, reconcile: { interval: 0 } }`,
      'telemetry: { listen: "127.0.0.1:0" }',
      'drain: 10s',
    ];
    await writeFile(path, `${text.join('\n')}\n`);
    return path;
  };
  const start = async (config: string, role = 'both'): Promise<Program> => {
    const started = new Program(program, config, role);
    running.push(started);
    await started.ready();
    return started;
  };
  const push = async (name: string, seed: number): Promise<void> => {
    const layout = join(folder.path, `layout-${Math.random()}`);
    await buildLayout(layout, 'latest', [{ tar: smallTar(seed) }]);
    const to = `docker://${registry.host}/${name}`;
    await run('skopeo', ['copy', '--dest-tls-verify=false', `oci:${layout}:latest`, to]);
  };
  const tagsOf = async (repository: string): Promise<string[]> => {
    const answer = await fetch(`${registry.url}/v2/${repository}/tags/list`);
    return ((await answer.json()) as { tags?: string[] }).tags ?? [];
  };
  const event = (repository: string, tag?: string): { event: PushEvent } => ({
    event: { kind: 'api', registry: registry.host, repository, ...(tag === undefined ? {} : { tag }) },
  });
  const rules = (more = ''): string => `[{ repositories: ["${registry.host}/*/**"]${more} }]`;
  /** Both tags are there, and what they name has every byte of the source. */
  const assertConverted = async (repository: string, tag: string): Promise<void> => {
    for (const suffix of ['_accelerated', '_containerd_accelerated']) {
      const name = `${registry.host}/${repository}:${tag}${suffix}`;
      expect([name, (await verify(name, { registry: { plain: true } })).differenceCount]).toEqual([name, 0]);
    }
  };

  it('twenty events of a push are one conversion; both tags are there and verified', async () => {
    const service = await start(await configure(join(folder.path, 'one.db'), rules(', verify: full')));
    await push('one/app:1', 1);
    const answers = await Promise.all(Array.from({ length: 20 }, () => service.ask(event('one/app', '1'))));
    expect(answers.map(({ value }) => value)).toEqual(Array(20).fill({ accepted: 1, dropped: 0 }));
    await until(
      async () => ((await service.jobs('done')).length > 0 ? true : undefined),
      () => service.log,
    );
    await assertConverted('one/app', '1');
    // Late and doubled, and about tags of our own.
    for (const tag of ['1', '1', '1_accelerated', '1_containerd_accelerated', 'gone', 'accel-cache'])
      await service.ask(event('one/app', tag));
    const count = (text: string): number => service.log.split(text).length - 1;
    await until(
      async () => (count('up-to-date,') > 0 && count('gone,') > 0 ? true : undefined),
      () => service.log,
    );
    await until(
      async () => (count('already-accelerated,') >= 2 ? true : undefined),
      () => service.log,
    );
    expect(await service.jobs()).toMatchObject([{ state: 'done', result: { verified: 'full' } }]);
    expect(count('converting ')).toBe(1);
    // Neither needs the registry.
    expect(
      (await service.ask({ event: { ...event('one/app', '1').event, registry: 'evil.example.com' } })).value,
    ).toEqual({
      accepted: 0,
      dropped: 1,
    });
    expect((await service.ask(event('one/app'))).value).toEqual({ accepted: 0, dropped: 1 });
    expect((await service.ask(event('one/app', 'no tag'))).refused).toBe('reference-invalid');
    await service.end('SIGTERM');
    expect(service.child.exitCode).toBe(0);
  });

  it('a tag that moves is converted to what it names last, an image that cannot be is parked', async () => {
    const service = await start(await configure(join(folder.path, 'moves.db'), rules()));
    for (const seed of [11, 12, 13]) {
      await push('moves/app:latest', seed);
      await service.ask(event('moves/app', 'latest'));
    }
    const last = await fetch(`${registry.url}/v2/moves/app/manifests/latest`, {
      headers: { accept: 'application/vnd.oci.image.manifest.v1+json' },
    });
    const digest = last.headers.get('docker-content-digest')!;
    await until(
      async () => {
        const done = await service.jobs('done');
        return done.some(({ key }) => key.includes(digest)) ? true : undefined;
      },
      () => service.log,
    );
    await until(
      async () => ((await service.jobs('running')).length === 0 ? true : undefined),
      () => service.log,
    );
    await assertConverted('moves/app', 'latest');
    const long = 'x'.repeat(120);
    await push(`moves/app:${long}`, 14);
    await service.ask(event('moves/app', long));
    const parked = await until(
      async () => {
        const failed = await service.jobs('failed');
        return failed.length > 0 ? failed : undefined;
      },
      () => service.log,
    );
    expect(parked).toMatchObject([{ failure: { code: 'tag-too-long', temporary: false } }]);
  });

  it('SIGTERM lets what runs finish', async () => {
    const service = await start(await configure(join(folder.path, 'drain.db'), rules()));
    await push('drain/app:1', 21);
    await service.ask(event('drain/app', '1'));
    await until(
      async () => (service.log.includes('converting ') ? true : undefined),
      () => service.log,
    );
    await service.end('SIGTERM');
    expect(service.child.exitCode).toBe(0);
    expect(service.log).toContain(`converted ${registry.host}/drain/app:1`);
    await assertConverted('drain/app', '1');
  });

  it('SIGHUP reads the rules again; a wrong file changes nothing', async () => {
    const config = await configure(join(folder.path, 'reload.db'), `[{ repositories: ["${registry.host}/a/*"] }]`);
    const service = await start(config);
    const text = await readFile(config, 'utf8');
    const reload = async (content: string, says: string): Promise<void> => {
      await writeFile(config, content);
      service.child.kill('SIGHUP');
      await until(
        async () => (service.log.includes(says) ? true : undefined),
        () => service.log,
      );
    };
    const dropped = { accepted: 0, dropped: 1 };
    expect((await service.ask(event('b/app', '1'))).value).toEqual(dropped);
    await reload(text.replace('/a/*', '/{a'), 'the configuration stays as it was: this pattern cannot be used');
    expect((await service.ask(event('b/app', '1'))).value).toEqual(dropped);
    await reload(text.replace('/a/*', '/b/*'), 'configuration read again');
    expect((await service.ask(event('b/app', '1'))).value).toEqual({ accepted: 1, dropped: 0 });
    expect((await service.ask(event('a/app', '1'))).value).toEqual(dropped);
    const [, metrics] = /metrics at (\S+)/.exec(service.log)!;
    expect((await fetch(metrics!.replace('/metrics', '/readyz'))).status).toBe(200);
    expect(await (await fetch(metrics!)).text()).toContain(
      'accel_service_events_total{kind="api",decision="not-covered"} 3',
    );
  });

  it('accel serve, as it is published, converts what is in the queue', async () => {
    const path = join(folder.path, 'published.db');
    await push('published/app:1', 41);
    const queue = await openSqliteQueue({ path });
    await queue.add([eventJob(event('published/app', '1').event)]);
    await queue.close();
    const cli = fileURLToPath(new URL('../../dist/program/main.js', import.meta.url));
    const service = spawn(process.execPath, [cli, 'serve', '-c', await configure(path, rules())], { stdio: 'pipe' });
    let log = '';
    service.stderr.setEncoding('utf8').on('data', (text: string) => {
      log += text;
    });
    const ended = once(service, 'exit');
    await until(
      async () => (log.includes('converted ') || service.exitCode !== null ? true : undefined),
      () => log,
    );
    service.kill('SIGTERM');
    expect([await ended, log]).toEqual([[0, null], expect.stringContaining('converted ')]);
    await assertConverted('published/app', '1');
  });

  it('the embedded queue is for one process', async () => {
    const config = await configure(join(folder.path, 'roles.db'), rules());
    await expect(start(config, 'worker')).rejects.toThrow('needs a queue that several processes can use');
  });

  describeWith({ tools: POSTGRES_TOOLS }, 'on PostgreSQL', () => {
    let server: TestPostgres;
    beforeAll(async () => {
      server = await startPostgres();
    });
    afterAll(() => server?.stop());

    it('an API and workers apart', async () => {
      const config = await configure(await server.database('apart'), rules());
      const api = await start(config, 'api');
      await push('apart/app:1', 31);
      await api.ask(event('apart/app', '1'));
      await delay(300);
      expect(await tagsOf('apart/app')).toEqual(['1']);
      await start(config, 'worker');
      await until(
        async () => ((await api.jobs('done')).length > 0 ? true : undefined),
        () => api.log,
      );
      await assertConverted('apart/app', '1');
    });
  });
});
