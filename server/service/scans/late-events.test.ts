/** Shuffled, doubled, late events of many images: the last state of the registry decides, however they come. */
import { createHash } from 'node:crypto';
import { createServer, type ServerResponse } from 'node:http';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { encodeRecord, makeRecord } from '../../../converter/publish/record-annotations.ts';
import { type Loopback, listen } from '../../../tests/support/loopback.ts';
import { tempDirectory } from '../../../tests/support/tools.ts';
import { CONFIG_SCHEMA } from '../../config/schema.ts';
import type { ConversionOrder } from '../conversion.ts';
import { createEventSink, startIntake } from '../intake.ts';
import type { PushEvent } from '../push-event.ts';
import { serviceSettings } from '../service-settings.ts';
import { openSqliteQueue } from '../sqlite.ts';

const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
/** An empty tar. */
const LAYER = Buffer.alloc(1024);
const LAYER_ID = `sha256:${createHash('sha256').update(LAYER).digest('hex')}`;
const IMAGES = 500;
const EVENTS = 10_000;

/** A registry in this process: manifests and configs by digest, tags that a test sets. */
class Registry {
  readonly blobs = new Map<string, Buffer>([[LAYER_ID, LAYER]]);
  readonly tags = new Map<string, string>();
  server!: Loopback;

  async start(): Promise<void> {
    this.server = await listen(
      createServer((incoming, answer) => this.#answer(incoming.method!, incoming.url!, answer)),
    );
  }

  put(document: object): { digest: string; size: number } {
    const bytes = Buffer.from(JSON.stringify(document));
    const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
    this.blobs.set(digest, bytes);
    return { digest, size: bytes.length };
  }

  image(seed: string, annotations?: Record<string, string>): string {
    const rootfs = { type: 'layers', diff_ids: [LAYER_ID] };
    const config = this.put({ architecture: 'amd64', os: 'linux', config: {}, rootfs, seed });
    const type = 'application/vnd.oci.image.config.v1+json';
    return this.put({
      schemaVersion: 2,
      mediaType: MANIFEST,
      config: { mediaType: type, ...config },
      layers: [{ mediaType: 'application/vnd.oci.image.layer.v1.tar', digest: LAYER_ID, size: LAYER.length }],
      ...(annotations === undefined ? {} : { annotations }),
    }).digest;
  }

  #answer(method: string, url: string, answer: ServerResponse): void {
    const [, repository = '', kind, reference = ''] = /^\/v2\/(.+)\/(manifests|blobs)\/([^/?]+)/.exec(url) ?? [];
    const digest = reference.includes(':') ? reference : this.tags.get(`${repository}:${reference}`);
    const bytes = digest === undefined ? undefined : this.blobs.get(digest);
    if (url === '/v2/') answer.writeHead(200).end();
    else if (bytes === undefined || kind === undefined) answer.writeHead(404).end();
    else {
      const type = kind === 'manifests' ? MANIFEST : 'application/octet-stream';
      answer.writeHead(200, { 'content-type': type, 'content-length': bytes.length, 'docker-content-digest': digest! });
      answer.end(method === 'HEAD' ? undefined : bytes);
    }
  }
}

let registry: Registry;
beforeAll(async () => {
  registry = new Registry();
  await registry.start();
});
afterAll(() => registry.server.stop());

/** Numbers from 0 to 1, the same in every run. */
function sequence(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

it('ten thousand events of five hundred images call for exactly the last states', async () => {
  const random = sequence(7);
  const folder = await tempDirectory();
  const { host } = registry.server;
  const config = CONFIG_SCHEMA.parse({
    registries: [{ host, plain: true }],
    rules: [{ repositories: [`${host}/*/app`], tags: { exclude: ['pr-*'] } }],
    service: { reconcile: { interval: 0 } },
  });
  const settings = await serviceSettings(config);
  const queue = await openSqliteQueue({ path: `${folder.path}/queue.db` });
  const sink = createEventSink({ queue, context: () => settings });
  const kinds = ['plain', 'plain', 'plain', 'moves', 'gone', 'ours', 'human', 'pr'] as const;
  const wanted = new Map<string, string>();
  const names = Array.from({ length: IMAGES }, (_, index) => {
    const kind = kinds[index % kinds.length]!;
    const suffix = kind === 'ours' || kind === 'human' ? '_accelerated' : '';
    return { kind, repository: `r${index % 20}/app`, tag: `${kind === 'pr' ? 'pr-' : 'v'}${index}${suffix}` };
  });
  const state = (name: (typeof names)[number], version: string): void => {
    const key = `${name.repository}:${name.tag}`;
    if (name.kind === 'gone' && version === 'last') registry.tags.delete(key);
    else {
      const source = registry.image(`${key} ${version} source`);
      const made = name.kind === 'ours' ? encodeRecord(makeRecord(source, 'full', '')) : undefined;
      registry.tags.set(key, registry.image(`${key} ${version}`, made));
    }
  };
  for (const name of names) state(name, 'first');
  const events: PushEvent[] = Array.from({ length: EVENTS }, (_, index) => {
    const { repository, tag } = names[index % IMAGES]!;
    return {
      kind: 'distribution',
      registry: host,
      repository,
      tag,
      digest: registry.tags.get(`${repository}:${tag}`)!,
    };
  });
  for (let at = events.length - 1; at > 0; at--) {
    const other = Math.floor(random() * (at + 1));
    [events[at], events[other]] = [events[other]!, events[at]!];
  }
  const intake = startIntake({ queue, concurrency: 16, context: () => settings, log: () => undefined });
  // Events come while others are looked at; half way, tags move. Everyone's last event comes after their last state.
  for (let at = 0; at < EVENTS; at += 500) {
    if (at === EVENTS / 2) {
      for (const name of names) if (name.kind === 'moves' || name.kind === 'gone') state(name, 'last');
    }
    await sink.accept(events.slice(at, at + 500));
  }
  const late = names.map(
    ({ repository, tag }): PushEvent => ({ kind: 'distribution', registry: host, repository, tag }),
  );
  await sink.accept(late);
  for (;;) {
    const { waiting, running } = await queue.figures();
    if (waiting.event + running.event === 0) break;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  await intake.drain(AbortSignal.timeout(5000));
  for (const { kind, repository, tag } of names) {
    if (['plain', 'moves'].includes(kind))
      wanted.set(`${host}/${repository}:${tag}`, registry.tags.get(`${repository}:${tag}`)!);
  }
  const found: ConversionOrder[] = [];
  for (let after: string | undefined; ; ) {
    const jobs = await queue.list({ topic: 'convert', limit: 500, ...(after === undefined ? {} : { after }) });
    found.push(...jobs.map(({ data }) => data as unknown as ConversionOrder));
    if (jobs.length < 500) break;
    after = jobs.at(-1)!.id;
  }
  const parked = (await queue.list({ topic: 'convert', state: 'failed', limit: 500 })).map(({ key, failure }) => ({
    key,
    failure,
  }));
  expect(parked).toEqual([]);
  // Newest first. A tag that moved may have been looked at before it did: its last job is of what it names now.
  const last = new Map<string, string>();
  for (const { repository, tag, digest } of found.toReversed()) last.set(`${repository}:${tag}`, digest!);
  const isGone = (image: string): boolean => !wanted.has(image);
  const gone = new Set(
    names.filter(({ kind }) => kind === 'gone').map(({ repository, tag }) => `${host}/${repository}:${tag}`),
  );
  expect([...last].filter(([image]) => isGone(image) && !gone.has(image))).toEqual([]);
  expect(new Map([...last].filter(([image]) => wanted.has(image)))).toEqual(wanted);
  // Once for each state, however many events: the tags that moved have two at most.
  const counts = new Map<string, number>();
  for (const { repository, tag, digest } of found) {
    const key = `${repository}:${tag}@${digest}`;
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  expect([...counts].filter(([, count]) => count > 1)).toEqual([]);
  await queue.close();
  await folder.remove();
});
