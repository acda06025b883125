/** Decisions about pushes to a real registry, from what it has at that time. */
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { runProgram } from '../../cli/program.ts';
import { idleSurroundings } from '../../cli/testing/idle-surroundings.ts';
import { convert } from '../../converter/convert.ts';
import { buildLayout } from '../../fixtures/image-builder.ts';
import { smallTar } from '../../tests/support/converter.ts';
import { listen } from '../../tests/support/loopback.ts';
import { startRegistry, type TestRegistry } from '../../tests/support/registry.ts';
import { describeWith, run, type TempDirectory, tempDirectory } from '../../tests/support/tools.ts';
import { compileRules, type RuleSource } from '../../triggers/rules/match-rule.ts';
import { conversionJob, type DecisionContext, decidePush } from './decide-push.ts';
import { checkEvent, eventKey, type PushEvent } from './push-event.ts';
import { failureOf } from './retries.ts';

const OCI_MANIFEST = 'application/vnd.oci.image.manifest.v1+json';

describeWith({ tools: ['docker-registry', 'skopeo'] }, 'a push', () => {
  let registry: TestRegistry;
  let folder: TempDirectory;
  let context: DecisionContext;
  const rulesOf = (...more: Partial<RuleSource>[]) =>
    compileRules(
      more.map((fields) => ({
        repositories: [`${registry.host}/team/*`],
        mode: 'full' as const,
        platforms: [],
        verify: 'off' as const,
        ...fields,
      })),
    );
  beforeAll(async () => {
    registry = await startRegistry();
    folder = await tempDirectory();
    const registries = [{ host: registry.host, plain: true }];
    context = { registries, rules: rulesOf({ excludeTags: ['pr-*'] }) };
    await buildLayout(join(folder.path, 'a'), 'latest', [{ tar: smallTar(1) }]);
    for (const tag of ['ordinary', 'done', 'fake_accelerated', 'x'.repeat(118)]) {
      const to = `docker://${registry.host}/team/app:${tag}`;
      await run('skopeo', ['copy', '--dest-tls-verify=false', `oci:${join(folder.path, 'a')}:latest`, to]);
    }
    await convert(
      { repository: `${registry.host}/team/app`, source: { tag: 'done' }, workers: 0 },
      { registry: { plain: true } },
    );
    await putArtifact('chart');
    // Both tags of full mode, of which one was removed; results under other names; an index.
    for (const [from, to] of [
      ['ordinary', 'half'],
      ['done_accelerated', 'half_accelerated'],
      ['done_accelerated', `${'y'.repeat(110)}_accelerated`],
      ['done_containerd_accelerated', 'plain-name'],
      ['ordinary', 'pr-7'],
      ['chart', `${'z'.repeat(128)}`],
      ['ordinary', 'accel-cache'],
      ['ordinary', `sha256-${'0'.repeat(64)}.sig`],
    ] as const) {
      const image = (tag: string) => `docker://${registry.host}/team/app:${tag}`;
      if (from !== 'chart') {
        await run('skopeo', ['copy', '--src-tls-verify=false', '--dest-tls-verify=false', ...[image(from), image(to)]]);
      } else await putArtifact(to);
    }
  });
  afterAll(async () => {
    await registry?.stop();
    await folder?.remove();
  });

  /** A manifest whose config is no image's: the empty blob of docker-registry serves as one. */
  async function putArtifact(tag: string): Promise<void> {
    const base = `${registry.url}/v2/team/app`;
    const digest = 'sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a';
    const started = await fetch(`${base}/blobs/uploads/`, { method: 'POST' });
    const upload = new URL(started.headers.get('location')!, base);
    upload.searchParams.set('digest', digest);
    await fetch(upload, { method: 'PUT', body: '{}', headers: { 'content-type': 'application/octet-stream' } });
    const config = { mediaType: 'application/vnd.cncf.helm.config.v1+json', digest, size: 2 };
    const body = JSON.stringify({ schemaVersion: 2, mediaType: OCI_MANIFEST, config, layers: [config] });
    const put = await fetch(`${base}/manifests/${tag}`, {
      method: 'PUT',
      body,
      headers: { 'content-type': OCI_MANIFEST },
    });
    expect(put.status).toBe(201);
  }

  const event = (tag?: string, more: Partial<PushEvent> = {}): PushEvent => ({
    kind: 'distribution',
    registry: registry.host,
    repository: 'team/app',
    ...(tag === undefined ? {} : { tag }),
    ...more,
  });
  const decide = (tag?: string, more: Partial<PushEvent> = {}, rules = context.rules) =>
    decidePush(event(tag, more), { ...context, rules });

  it.each<[string, string | undefined, Partial<PushEvent>]>([
    ['up-to-date', 'done', {}],
    ['already-accelerated', 'done_accelerated', {}],
    ['already-accelerated', 'done_containerd_accelerated', {}],
    ['named-accelerated', 'fake_accelerated', {}],
    ['not-an-image', 'chart', {}],
    ['gone', 'absent', {}],
    ['gone', 'absent', { repository: 'team/absent' }],
    ['cache-tag', 'accel-cache', {}],
    ['referrer-tag', 'sha256-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef.sig', {}],
    ['not-covered', 'pr-7', {}],
    ['not-covered', 'ordinary', { repository: 'other/app' }],
    ['foreign-registry', 'ordinary', { registry: 'evil.example.com' }],
    // A child of an index, or an image that is pushed by its digest alone.
    ['untagged', undefined, { digest: `sha256:${'a'.repeat(64)}` }],
  ])('%s: %s %o', async (code, tag, more) => {
    expect(await decide(tag, more)).toMatchObject({ code, jobs: [] });
  });

  it('of an ordinary image calls for a conversion of what the tag names now, whatever the event says', async () => {
    const decision = await decide('ordinary', { digest: `sha256:${'b'.repeat(64)}` });
    const { digest } = decision;
    expect(digest).toMatch(/^sha256:(?!b{64})/);
    const key = `${registry.host}/team/app:ordinary@${digest} ${context.rules.match({ repository: `${registry.host}/team/app` }).rule!.identity}`;
    expect(decision).toMatchObject({
      code: 'convert',
      rule: 1,
      reason: 'to make: ordinary_accelerated, ordinary_containerd_accelerated',
      jobs: [{ topic: 'convert', key, data: { digest, tag: 'ordinary', from: 'distribution' } }],
    });
    // Two tags of one image share a lane: one at a time.
    expect(conversionJob({ ...(decision.jobs[0]!.data as never as object), tag: 'other' } as never).lane).toBe(
      decision.jobs[0]!.lane,
    );
  });

  /** Lists what `accel convert --rules --dry-run` finds, in the service's words. */
  async function commandDecides(rules: object, ...more: string[]): Promise<Record<string, string>> {
    const file = join(folder.path, 'rules.json');
    await writeFile(file, JSON.stringify({ rules: [rules] }));
    const context = idleSurroundings();
    await runProgram(['convert', '--rules', file, '--plain', '--dry-run', '--json', '--jobs', '1', ...more], context);
    const words: Record<string, string> = { due: 'convert', failed: 'impossible' };
    const { images } = JSON.parse(context.stdout.text) as {
      images: { reference: string; state: string; skip?: { code: string } }[];
    };
    return Object.fromEntries(
      images.map(({ reference, state, skip }) => [
        reference.slice(reference.lastIndexOf(':') + 1),
        skip?.code ?? words[state] ?? state,
      ]),
    );
  }

  it.each<[string, Partial<RuleSource>, Record<string, unknown>]>([
    ['full mode', { excludeTags: ['pr-*'] }, { tags: { exclude: ['pr-*'] } }],
    ['index-only mode, where a tag has another kind', { mode: 'index-only' }, { mode: 'index-only' }],
    ['another block size', { blockSize: 8192 }, { blockSize: 8192 }],
    ['another level', { level: 3 }, { level: 3 }],
  ])('and accel convert --rules decide the same: %s', async (_, rule, written) => {
    const found = await commandDecides({ repositories: [`${registry.host}/team/*`], ...written });
    const tags = (
      (await (await fetch(`${registry.url}/v2/team/app/tags/list`)).json()) as { tags: string[] }
    ).tags.filter((tag) => !(rule.excludeTags !== undefined && tag.startsWith('pr-')));
    const decided: Record<string, string> = {};
    for (const tag of tags) decided[tag] = (await decide(tag, {}, rulesOf(rule))).code;
    expect(found).toEqual(decided);
    // Content is compared only after everything was read: the look that needs few requests says the same.
    expect(await commandDecides({ repositories: [`${registry.host}/team/*`], ...written }, '--verify-reused')).toEqual(
      found,
    );
    expect(new Set(Object.values(found))).toEqual(
      new Set([
        ...['already-accelerated', 'named-accelerated', 'not-an-image', 'cache-tag', 'referrer-tag'],
        ...[
          'convert',
          'impossible',
          ...(rule.mode === undefined && rule.blockSize === undefined && rule.level === undefined
            ? ['up-to-date']
            : []),
        ],
      ]),
    );
  });

  it('of an image that was converted with other options calls for another conversion', async () => {
    expect(await decide('done', {}, rulesOf({ blockSize: 8192 }))).toMatchObject({ code: 'convert' });
    expect(await decide('done', {}, rulesOf({ level: 3 }))).toMatchObject({ code: 'convert' });
    expect(await decide('done', {}, rulesOf({ layout: 'startup' }))).toMatchObject({ code: 'convert' });
    expect(await decide('done', {}, rulesOf({ targetRepository: `${registry.host}/fast/app` }))).toMatchObject({
      code: 'convert',
    });
  });

  it('of an image that cannot be converted is kept as failed, with the reason', async () => {
    const long = 'x'.repeat(118);
    expect(await decide(long)).toMatchObject({
      code: 'impossible',
      jobs: [{ parked: { code: 'tag-too-long', temporary: false }, failed: 'revive' }],
    });
    // A failure that reconciling finds again and again is not tried again.
    expect((await decide(long, { kind: 'reconcile' })).jobs[0]?.failed).toBe('keep');
    const conflict = await decide('done', {}, rulesOf({ mode: 'index-only' }));
    expect(conflict).toMatchObject({ code: 'impossible', jobs: [{ parked: { code: 'tag-conflict' } }] });
  });

  it('to a registry that refuses the credentials is kept as failed', async () => {
    const closed = await listen(
      createServer((_, response) => response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end()),
    );
    const registries = [{ host: closed.host, plain: true }];
    const rules = rulesOf({ repositories: [`${closed.host}/*`] });
    const pushed = { kind: 'api', registry: closed.host, repository: 'app', tag: '1' } as const;
    const decision = await decidePush(pushed, { registries, rules });
    await closed.stop();
    expect(decision).toMatchObject({ code: 'impossible', jobs: [{ parked: { code: 'unauthorized' } }] });
  });
});

it('a file of credentials that is half written parks nothing: it is looked at again', async () => {
  const folder = await tempDirectory();
  const credentialsFile = join(folder.path, 'config.json');
  const registries = [{ host: '127.0.0.1:1', plain: true, credentialsFile }];
  const rules = compileRules([{ repositories: ['127.0.0.1:1/*'], mode: 'full', platforms: [], verify: 'off' }]);
  const pushed = { kind: 'api', registry: '127.0.0.1:1', repository: 'app', tag: '1' } as const;
  for (const text of ['', '{"auths": {"secret', '[]']) {
    await writeFile(credentialsFile, text);
    const failed = await decidePush(pushed, { registries, rules }).catch(failureOf);
    expect(failed).toMatchObject({ code: 'io-error', where: { path: credentialsFile }, temporary: true });
    expect(JSON.stringify(failed)).not.toContain('secret');
  }
  // Docker's own file, which the process's environment names.
  vi.stubEnv('DOCKER_CONFIG', folder.path);
  const own = await decidePush(pushed, { registries: [{ host: '127.0.0.1:1', plain: true }], rules }).catch(failureOf);
  vi.unstubAllEnvs();
  await folder.remove();
  expect(own).toMatchObject({ code: 'usage', temporary: true });
});

it('events of Docker Hub have one name', () => {
  const named = (registry: string): PushEvent => ({
    kind: 'dockerhub',
    registry,
    repository: 'library/redis',
    tag: '7',
  });
  for (const registry of ['docker.io', 'index.docker.io', 'registry-1.docker.io'])
    expect(eventKey(checkEvent(named(registry)))).toBe('docker.io/library/redis:7');
});
