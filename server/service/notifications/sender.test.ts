/** Notifications in all forms, from a real queue to a real receiver. */
import { spawn } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Loopback, listen } from '../../../tests/support/loopback.ts';
import { type TempDirectory, tempDirectory } from '../../../tests/support/tools.ts';
import type { ConversionOrder, ConversionResult } from '../conversion.ts';
import type { JobPool } from '../job-pool.ts';
import { notificationsFor } from '../outbox.ts';
import type { Queue } from '../queue.ts';
import { openSqliteQueue } from '../sqlite.ts';
import { linearExpression } from './linear-expression.ts';
import { startSender } from './sender.ts';
import { type ConfiguredSink, loadSinks } from './sinks.ts';

const DIGEST = `sha256:${'1a'.repeat(32)}`;
const ORDER: ConversionOrder = {
  repository: 'r.io/app',
  tag: '1',
  rule: { number: 1, identity: 'one', options: {} as never },
  from: 'api',
};
const tag = (name: string, kind: 'full' | 'containerd', upToDate = false) => ({
  tag: name,
  kind,
  digest: DIGEST,
  mediaType: 'm',
  size: 50,
  ratio: 0.5,
  upToDate,
});
const RESULT: ConversionResult = {
  target: 'r.io/app',
  source: { digest: DIGEST, mediaType: 'm', size: 100 },
  tags: [tag('1_accelerated', 'full'), tag('1_containerd_accelerated', 'containerd')],
  platforms: ['linux/amd64'],
  warnings: [],
  verified: 'full',
  seconds: { total: 1, convert: 1, push: 0 },
};

interface Heard {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

let folder: TempDirectory;
let queue: Queue;
let receiver: Loopback;
let heard: Heard[];
let answers: number[];
let pool: JobPool | undefined;
let log: string[];
beforeEach(async () => {
  folder = await tempDirectory();
  await writeFile(join(folder.path, 'secret'), 'sink-secret\n');
  queue = await openSqliteQueue({ path: join(folder.path, 'queue.db'), history: 100 });
  [heard, answers, log] = [[], [], []];
  receiver = await listen(
    createServer(async (request, response) => {
      const body = await text(request);
      heard.push({ path: request.url!, headers: request.headers, body });
      response.writeHead(answers.shift() ?? 204).end();
    }),
  );
});
afterEach(async () => {
  await pool?.drain(AbortSignal.timeout(100));
  pool = undefined;
  await queue.close();
  await receiver.stop();
  await folder.remove();
});

const sinksOf = (...forms: ConfiguredSink['form'][]): Promise<readonly ConfiguredSink[]> =>
  loadSinks(
    forms.map((form) => ({
      form,
      url: `http://${receiver.host}/${form}/path-secret`,
      expression: '_accelerated$',
      ...(form === 'slack' ? {} : { secretFile: join(folder.path, 'secret') }),
    })),
  );
const send = (sinks: readonly ConfiguredSink[]): void => {
  pool = startSender({ queue, sinks: () => sinks, log: (line) => log.push(line) });
};
const failed = () => queue.list({ topic: 'notify', state: 'failed', limit: 10 });

describe('a finished conversion', () => {
  it('is reported once to each receiver, in its form', async () => {
    const sinks = await sinksOf('webhook', 'cloudevents', 'github-dispatch', 'slack');
    const jobs = notificationsFor({ id: 'c-1', attempts: 1 }, ORDER, RESULT, sinks);
    await queue.add(jobs);
    await queue.add(jobs);
    send(sinks);
    while (heard.length < 4) await delay(20);
    await delay(300);
    const by = Object.fromEntries(heard.map((one) => [one.path.split('/')[1], one]));
    expect(heard).toHaveLength(4);
    const { webhook, cloudevents, 'github-dispatch': dispatch, slack } = by;
    const document = {
      formatVersion: 1,
      event: 'accelerated',
      repository: 'r.io/app',
      tags: RESULT.tags.map(({ tag: name, kind }) => ({
        ...{ reference: `r.io/app:${name}@${DIGEST}`, tag: name, digest: DIGEST, kind, size: 50, ratio: 0.5 },
        verified: true,
      })),
    };
    expect(JSON.parse(webhook!.body)).toEqual(document);
    const mac = createHmac('sha256', 'sink-secret').update(webhook!.body).digest('hex');
    expect(webhook!.headers).toMatchObject({ 'x-accel-signature-256': `sha256=${mac}`, 'x-accel-delivery': 'c-1' });
    expect(JSON.parse(cloudevents!.body)).toMatchObject({
      ...{ specversion: '1.0', id: 'c-1', type: 'dev.accel.image.accelerated', subject: 'r.io/app:1', data: document },
    });
    expect(cloudevents!.headers['content-type']).toBe('application/cloudevents+json');
    expect(dispatch!.headers).toMatchObject({
      authorization: 'Bearer sink-secret',
      accept: 'application/vnd.github+json',
    });
    expect(dispatch!.headers['x-accel-signature-256']).toBeUndefined();
    expect(JSON.parse(dispatch!.body)).toEqual({
      event_type: 'accelerated',
      client_payload: { repository: 'r.io/app', tag: '1_accelerated', digest: DIGEST },
    });
    expect(Object.keys(JSON.parse(slack!.body))).toEqual(['text']);
    expect(JSON.parse(slack!.body).text).toContain('r.io/app:1_accelerated (50 % of the size)');
    expect(log.join('\n')).not.toMatch(/sink-secret|path-secret/);
  });

  it('is reported for tags that were made and that the expression matches, and for no others', async () => {
    const sinks = await sinksOf('webhook');
    expect(
      notificationsFor(
        { id: 'c', attempts: 1 },
        ORDER,
        { ...RESULT, tags: [tag('1_accelerated', 'full', true)] },
        sinks,
      ),
    ).toEqual([]);
    expect(
      notificationsFor({ id: 'c', attempts: 1 }, ORDER, { ...RESULT, tags: [tag('1_other', 'full')] }, sinks),
    ).toEqual([]);
    // The attempt before made them, and was killed before it could say so.
    const again = { ...RESULT, tags: [tag('1_accelerated', 'full', true)] };
    expect(notificationsFor({ id: 'c', attempts: 2 }, ORDER, again, sinks)).toHaveLength(sinks.length);
  });
});

it('is sent again after 5xx, with the same delivery', async () => {
  answers = [503];
  const sinks = await sinksOf('webhook');
  await queue.add(notificationsFor({ id: 'c-2', attempts: 1 }, ORDER, RESULT, sinks));
  send(sinks);
  while (heard.length < 2) await delay(50);
  expect(heard.map(({ headers }) => headers['x-accel-delivery'])).toEqual(['c-2', 'c-2']);
  expect(await failed()).toEqual([]);
});

it('is parked after 4xx, with the reason and without the secret of the URL', async () => {
  answers = [410];
  const sinks = await sinksOf('slack');
  await queue.add(notificationsFor({ id: 'c-3', attempts: 1 }, ORDER, RESULT, sinks));
  send(sinks);
  let parked = await failed();
  while (parked.length === 0) {
    await delay(50);
    parked = await failed();
  }
  expect(parked).toMatchObject([{ failure: { code: 'notify-failed', found: 'HTTP 410', temporary: false } }]);
  expect(JSON.stringify(parked) + log.join('\n')).not.toContain('path-secret');
  expect(heard).toHaveLength(1);
});

it('survives the SIGKILL of the process that sends it', async () => {
  answers = [503, 503, 503, 503, 503, 503];
  const sinks = await sinksOf('webhook');
  await queue.add(notificationsFor({ id: 'c-4', attempts: 1 }, ORDER, RESULT, sinks));
  await queue.close();
  const program = join(folder.path, 'program.mjs');
  const at = (name: string): string => JSON.stringify(new URL(name, import.meta.url).href);
  await writeFile(
    program,
    `import { openSqliteQueue } from ${at('../sqlite.ts')};
import { startSender } from ${at('./sender.ts')};
import { loadSinks } from ${at('./sinks.ts')};
const [path, url, secretFile] = process.argv.slice(2);
const sinks = await loadSinks([{ form: 'webhook', url, expression: '_accelerated$', secretFile }]);
startSender({ queue: await openSqliteQueue({ path, history: 100 }), sinks: () => sinks, log: () => undefined });
`,
  );
  const path = join(folder.path, 'queue.db');
  const url = `http://${receiver.host}/webhook/path-secret`;
  const child = spawn(process.execPath, [program, path, url, join(folder.path, 'secret')], { stdio: 'inherit' });
  const ended = once(child, 'exit');
  while (heard.length === 0 && child.exitCode === null) await delay(10);
  child.kill('SIGKILL');
  await ended;
  answers = [];
  queue = await openSqliteQueue({ path, history: 100 });
  const before = heard.length;
  expect(before).toBeGreaterThan(0);
  send(sinks);
  while (heard.length === before) await delay(50);
  expect(heard.at(-1)!.headers['x-accel-delivery']).toBe('c-4');
});

describe('expressions', () => {
  it('match as those of the Action do', () => {
    const matches = linearExpression('_accelerated$', 'key');
    expect([matches('1_accelerated'), matches('1_accelerated2'), linearExpression('^v\\d+_', 'key')('v12_x')]).toEqual([
      ...[true, false, true],
    ]);
  });

  it('that explode in other engines take no time', () => {
    // Some 2^5000 steps by backtracking: without a linear engine this test does not end.
    expect(linearExpression('^(a+)+$', 'key')(`${'a'.repeat(5000)}!`)).toBe(false);
    expect(linearExpression('(x+x+)+y', 'key')('x'.repeat(5000))).toBe(false);
  });

  it.each(['(', '(?=a)', '(a)\\1', 'a'.repeat(513)])('%s is refused with its key', (expression) => {
    expect(() => linearExpression(expression, 'service.notifications[0].expression')).toThrow(
      'an expression for tags cannot be used',
    );
  });
});

it('a sink that cannot be used is an error of the configuration', async () => {
  const base = { expression: 'x', url: 'https://ci.example.com/hook', form: 'webhook' } as const;
  await expect(loadSinks([base, base])).rejects.toThrow('configured twice');
  await expect(loadSinks([{ ...base, form: 'github-dispatch' }])).rejects.toThrow('needs a token');
  await expect(loadSinks([{ ...base, url: 'https://u:p@ci.example.com/' }])).rejects.toThrow('has a user name');
});
