/** `--json` prints documents that docs/schemas describes: real output of each command, by a JSON Schema library. */
import { readFileSync } from 'node:fs';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { convertedLayers, convertedTags } from '../../action/outcome.ts';
import { noticeOf, outputsOf } from '../../action/outputs.ts';
import { diagnosisDocument } from '../../cli/node-report.ts';
import { runProgram } from '../../cli/program.ts';
import type { Diagnosis, ServerAccess } from '../../cli/server-package.ts';
import { sampleResult } from '../../cli/testing/sample.ts';
import { TarBuilder } from '../../fixtures/tar-builder.ts';
import { convertedLayout, FULL, INDEXED } from '../../reader/testing/test-images.ts';
import { serverNode } from '../../scripts/server-node.ts';
import { startDemoRegistry } from '../../server/demo/demo-registry.ts';
import { attachReferrer, attachTag } from '../support/attach.ts';
import { smallTar, type TestLayout, testLayout } from '../support/converter.ts';
import { complaints, SCHEMAS } from '../support/json-schemas.ts';
import { startRegistry } from '../support/registry.ts';
import { run as runTool, type TempDirectory, tempDirectory } from '../support/tools.ts';

const seen = new Set<string>();
let layout: TestLayout;
let scratch: TempDirectory;

beforeAll(async () => {
  const tar = new TarBuilder({ mtime: '1700000000.5' })
    .dir('etc/')
    .file('etc/os-release', 'NAME=test\n')
    .symlink('etc/link', 'os-release')
    .file(Buffer.from('etc/caf\xe9', 'latin1'), 'x')
    .symlink('bytes', Buffer.from('caf\xe9', 'latin1'))
    .dir('dev/')
    .device('dev/null', 'character', 1, 3, { mode: 0o666 });
  layout = await convertedLayout([{ tar: tar.build() }, { tar: new TarBuilder().file('upper', 'y').build() }]);
  scratch = await tempDirectory('accel-json-');
});
afterAll(async () => {
  await layout.remove();
  await scratch.remove();
});

async function run(
  args: readonly string[],
  server?: Partial<ServerAccess>,
  env: Record<string, string> = {},
): Promise<{ code: number; text: string; errors: string }> {
  const out: Buffer[] = [];
  const errors: string[] = [];
  const code = await runProgram(args, {
    stdout: { write: (part: string | Uint8Array) => out.push(Buffer.from(part as Uint8Array)) > 0 },
    stderr: { write: (part: string | Uint8Array) => errors.push(String(part)) > 0 },
    stdin: (async function* () {})(),
    env: { DOCKER_CONFIG: scratch.path, ...env },
    signal: new AbortController().signal,
    loadConverter: () => import('../../converter/convert.ts'),
    ...(server === undefined ? {} : { server: server as ServerAccess }),
  });
  return { code, text: Buffer.concat(out).toString('utf8'), errors: errors.join('') };
}

/** The answer of a function of the server's main module: the server runs on a newer Node than this test may. */
async function onServerNode<T>(name: string, request: Record<string, unknown>): Promise<T> {
  const main = join(import.meta.dirname, '../../server/main.ts');
  const script = `import { ${name} } from ${JSON.stringify(main)};
    console.log(JSON.stringify(await ${name}(${JSON.stringify(request)})));`;
  const { stdout } = await runTool(serverNode(), ['--input-type=module', '-e', script]);
  return JSON.parse(stdout.toString('utf8')) as T;
}

/** Runs a command, and holds its one document against a schema. */
async function document(
  name: string,
  args: readonly string[],
  expected = 0,
  env: Record<string, string> = {},
): Promise<Record<string, unknown>> {
  const { code, text, errors } = await run(args, undefined, env);
  expect({ code, errors: code === expected ? '' : errors }).toEqual({ code: expected, errors: '' });
  const parsed = JSON.parse(text) as Record<string, unknown>;
  expect(complaints(name, parsed)).toEqual([]);
  expect(parsed.formatVersion).toBe(1);
  seen.add(name);
  return parsed;
}

const place = (): string => `oci:${layout.directory}`;
const named = (tag: string): string => `${place()}:${tag}`;

describe('each document has the form of its schema', () => {
  it('convert: made, up to date, with manifests', async () => {
    const args = ['convert', '-r', place(), '-i', 'base', '--json'];
    await document('convert', [...args, '--force', '--dump-manifest']);
    await document('convert', args);
  });

  it('convert with a prefetch list, and its dry run', async () => {
    const list = join(scratch.path, 'list');
    await writeFile(list, '/etc/os-release\n');
    const args = ['convert', '-r', place(), '-i', 'base', '--prefetch', list, '--json'];
    await document('convert-dry-run', [...args, '-o', 'fresh', '--dry-run']);
    await document('convert', [...args, '-o', 'listed']);
  });

  it('what refers to an image: found, copied, linked, planned and inspected', async () => {
    const base = await layout.target.resolve('base');
    const spdx = { type: 'application/spdx+json', artifactType: 'application/spdx+json', content: '{}' };
    await attachReferrer(layout.target, base, spdx);
    await attachReferrer(layout.target, base, { type: 'application/sarif+json', content: '{}' });
    await attachTag(layout.target, base, 'sbom', { type: 'text/spdx+json', content: '{}' });
    await attachTag(layout.target, base, 'sig', {
      type: 'application/vnd.dev.cosign.simplesigning.v1+json',
      content: '{}',
    });
    const args = ['convert', '-r', place(), '-i', 'base', '-o', 'attached', '--copy-referrers', '--json'];
    const outcomes = (parsed: Record<string, unknown>) =>
      (parsed.referrers as { kind: string; via: string; action: string }[])
        .map(({ kind, via, action }) => `${kind} ${via} ${action}`)
        .sort();
    const expected = ['other referrers linked', 'sbom referrers copied', 'sbom tag copied', 'signature tag linked'];
    expect(outcomes(await document('convert-dry-run', [...args, '--dry-run']))).toEqual(expected);
    expect(outcomes(await document('convert', args))).toEqual(expected);
    const { referrers } = await document('inspect', ['inspect', named('attached'), '--referrers', '--json']);
    const inspected = referrers as { of: string; copiedFrom?: string; linkedKind?: string; source?: object }[];
    for (const field of ['copiedFrom', 'linkedKind', 'source', 'tag', 'artifactType'] as const)
      expect(inspected.some((one) => field in one)).toBe(true);
    expect(new Set(inspected.map(({ of }) => of))).toEqual(new Set(['image', 'source']));
  });

  it('convert of many images: made, skipped, failed, due', async () => {
    const many = ['convert', '-r', place(), '--tags', 'base*', '--json'];
    await document('convert-many', [...many, '--dry-run', '--force']);
    await document('convert-many', many);
    const list = join(scratch.path, 'images.txt');
    await writeFile(list, `${named('base')}\n${named('base')}\n${named(FULL)}\n${named('gone')}\n`);
    const { images } = await document('convert-many', ['convert', '--from', list, '--json'], 6);
    expect(
      (images as { state: string; places: string[] }[]).map(({ state, places }) => [state, places.length]),
    ).toEqual([
      ['up-to-date', 2],
      ['skipped', 1],
      ['failed', 1],
    ]);
  });

  it('convert --dry-run', async () => {
    const args = ['convert', '-r', place(), '-i', 'base', '--dry-run', '--json'];
    await document('convert-dry-run', args);
    await document('convert-dry-run', [...args, '--force']);
  });

  it('verify: identical, and different', async () => {
    await document('verify', ['verify', named(FULL), '--json']);
    await document('verify', ['verify', named(INDEXED), '--quick', '--json']);
    // Another source: every layer and path of it differs.
    const other = await testLayout([{ tar: smallTar(1) }, { tar: smallTar(2) }]);
    try {
      const source = `oci:${other.directory}:base`;
      await document('verify', ['verify', named(FULL), '--source', source, '--json'], 5);
    } finally {
      await other.remove();
    }
  });

  it('inspect: both kinds, the source, and one with a prefetch list', async () => {
    for (const tag of [FULL, INDEXED, 'base', 'accel-cache'])
      await document('inspect', ['inspect', named(tag), '--json']);
    await document('inspect', ['inspect', named(FULL), '--check', '--json']);
    await layout.target.tag(await layout.target.resolve(INDEXED), 'without_base');
    await document('inspect', ['inspect', named('without_base'), '--check', '--json']);
  });

  it('ls: a directory, everything, and one file', async () => {
    const top = await document('ls', ['ls', named(FULL), '--json']);
    expect(top.path).toBe('/');
    const all = await document('ls', ['ls', '-R', named(FULL), '--json']);
    const entries = all.entries as Record<string, unknown>[];
    expect(entries.map(({ path }) => path)).toContain('/etc/caf\\xe9');
    expect(entries.find(({ path }) => path === '/etc/caf\\xe9')!.pathBase64).toBe(
      Buffer.from('/etc/caf\xe9', 'latin1').toString('base64'),
    );
    expect(entries.find(({ path }) => path === '/dev/null')!.device).toEqual({ major: 1, minor: 3 });
    expect(entries.find(({ path }) => path === '/etc/link')!.target).toBe('os-release');
    const one = await document('ls', ['ls', named(FULL), '/etc/os-release', '--json']);
    expect(one.entries).toMatchObject([{ type: 'file', mode: '0644', size: 10, mtime: '2023-11-14T22:13:20.5Z' }]);
  });

  it('prefetch add and show, as a list and as a trace', async () => {
    await document('prefetch-show', ['prefetch', 'show', named(FULL), '--json']);
    const list = join(scratch.path, 'more');
    await writeFile(list, '/etc/os-release\n/gone\n');
    for (const form of ['list', 'trace']) {
      await document('prefetch-add', ['prefetch', 'add', named(FULL), list, '--format', form, '-o', form, '--json']);
      await document('prefetch-show', ['prefetch', 'show', named(form), '--json']);
      await document('inspect', ['inspect', named(form), '--json']);
    }
  });

  it('prefetch warm, of an agent that has done it', async () => {
    const registry = await startDemoRegistry({ layout: layout.directory });
    const bodies: string[] = [];
    const progress = {
      id: 'a'.repeat(32),
      state: 'done',
      nodes: [
        {
          node: '10.0.0.1:65002',
          state: 'done',
          pieces: { total: 3, done: 3, failed: 0 },
          bytes: { total: 9, done: 9 },
        },
      ],
    };
    const agent = createServer((request, response) => {
      request.on('data', (chunk: Buffer) => bodies.push(chunk.toString()));
      request.on('end', () => response.writeHead(202).end(JSON.stringify(progress)));
    });
    await new Promise<void>((resolve) => agent.listen(0, '127.0.0.1', resolve));
    const url = `http://127.0.0.1:${(agent.address() as AddressInfo).port}`;
    const flags = ['--plain', '--agent', url, '--json'];
    for (const tag of ['base', FULL, INDEXED, 'list', 'trace'])
      await document('prefetch-warm', ['prefetch', 'warm', `${registry.host}/app:${tag}`, ...flags]);
    expect(bodies).toHaveLength(5);
    agent.close();
    await registry.close();
  });

  it('report: images with and without a list', async () => {
    const page = join(scratch.path, 'report.html');
    const report = await document('report', ['report', place(), '--nodes', '3', '--html', page, '--json']);
    expect(report).toMatchObject({ problems: [], repositories: [{ fleet: { nodes: 3 } }] });
    expect(readFileSync(page, 'utf8')).toContain('<h1>');
  });

  it('prune: planned and done', async () => {
    const registry = await startRegistry();
    try {
      const repository = `${registry.host}/team/app`;
      for (const tag of [FULL, INDEXED]) {
        const [from, to] = [`oci:${layout.directory}:${tag}`, `docker://${repository}:${tag}`];
        await runTool('skopeo', ['copy', '--quiet', '--dest-tls-verify=false', from, to]);
      }
      const args = ['prune', repository, '--base-repository', repository, '--plain', '--json'];
      const planned = await document('prune', args);
      expect(planned).toMatchObject({ dryRun: true, tags: 2, removed: 0 });
      expect(await document('prune', [...args, '--yes'])).toMatchObject({ dryRun: false, removed: 2, problems: [] });
    } finally {
      await registry.stop();
    }
  });

  it('event: convert, finished, skipped', async () => {
    const payload = join(scratch.path, 'event.json');
    const events = [{ tag: 'base' }, { tag: FULL }, { tag: 'nothing' }, {}];
    for (const sent of events) {
      await writeFile(payload, JSON.stringify({ client_payload: sent }));
      await document('event', ['event', '--payload', payload, '-r', place(), '--json']);
    }
  });

  it('an error, of every command', async () => {
    const gone = named('gone');
    await document('error', ['convert', '-r', place(), '-i', 'gone', '--json'], 1);
    await document('error', ['verify', gone, '--json'], 1);
    await document('error', ['inspect', gone, '--json'], 1);
    await document('error', ['ls', gone, '--json'], 1);
    await document('error', ['ls', named(FULL), '/gone', '--json'], 1);
    await document('error', ['prefetch', 'show', gone, '--json'], 1);
    await document('error', ['event', '--json'], 2);
  });

  it('agent doctor, on a node without anything', async () => {
    const config = join(scratch.path, 'accel.yaml');
    await writeFile(config, 'registries: [{host: "127.0.0.1:9", plain: true}]\n');
    const diagnosis = await onServerNode<Diagnosis>('examineNode', { root: scratch.path, config });
    expect(diagnosis.ok).toBe(false);
    expect(complaints('agent-doctor', JSON.parse(diagnosisDocument(diagnosis)))).toEqual([]);
    seen.add('agent-doctor');
  });

  it('serve check: a rule with all options, and none', async () => {
    const config = join(scratch.path, 'rules.yaml');
    const options = 'mode: full, platforms: [linux/amd64], verify: quick, algorithm: zstd, blockSize: 16384';
    await writeFile(config, `rules: [{repositories: [a.test/x]}, {repositories: [b.test/*], ${options}}]\n`);
    const server: Partial<ServerAccess> = {
      checkImage: (_, { image }) => onServerNode('checkImage', { config, image }),
    };
    const check = async (image: string): Promise<Record<string, unknown>> => {
      const { code, text } = await run(['serve', 'check', image, '-c', config, '--json'], server);
      expect(code).toBe(0);
      expect(complaints('serve-check', JSON.parse(text))).toEqual([]);
      return JSON.parse(text) as Record<string, unknown>;
    };
    expect(await check('b.test/y:1')).toMatchObject({ formatVersion: 1, rule: { number: 2 }, verdicts: [{}, {}] });
    expect(await check('c.test/y')).not.toHaveProperty('rule');
    seen.add('serve-check');
  });

  it('serve backfill and prune print one document also where not everything could be done', async () => {
    const problems = ['a.test/x: no answer'];
    const server: Partial<ServerAccess> = {
      backfill: async () => ({ repositories: 1, images: 0, due: 0, problems }),
      prune: async () => ({ tags: 0, removed: 0, problems }),
    };
    const commands = [
      { schema: 'serve-backfill', command: ['backfill', 'a.test/x'] },
      { schema: 'prune', command: ['prune'] },
    ];
    for (const { schema, command } of commands) {
      const { code, text, errors } = await run(['serve', ...command, '-c', 'accel.yaml', '--json'], server);
      expect(code).toBe(1);
      expect(complaints(schema, JSON.parse(text))).toEqual([]);
      expect(JSON.parse(text)).toMatchObject({ problems });
      expect(errors).toContain('a.test/x: no answer');
      // Full documents of both: server/service/scans/scan-commands.test.ts.
      seen.add(schema);
    }
  });

  it('config, of a user with a file, and a password in a variable', async () => {
    const config = join(scratch.path, 'config');
    await mkdir(join(config, 'accel'), { recursive: true });
    await writeFile(join(config, 'accel', 'accel.yaml'), 'bs: 8K\ncommands: {convert: {platform: [linux/amd64]}}\n');
    const env = { XDG_CONFIG_HOME: config, ACCEL_USERNAME: 'ci:very-secret', ACCEL_NO_CACHE: 'true' };
    const all = await document('config', ['config', '--json'], 0, env);
    const one = await document('config', ['config', '--command', 'convert', '--json'], 0, env);
    const settings = (one.commands as { settings: { flag: string }[] }[])[0]!.settings;
    expect(settings.find(({ flag }) => flag === '--bs')).toMatchObject({
      value: 8192,
      origin: { kind: 'user', line: 1, column: 1 },
    });
    expect(settings.find(({ flag }) => flag === '--username')).toMatchObject({ value: 'ci:***' });
    expect(settings.find(({ flag }) => flag === '--no-cache')).toMatchObject({ value: true });
    expect(settings.find(({ flag }) => flag === '--mode')).toMatchObject({ origin: { kind: 'default' } });
    expect(JSON.stringify([all, one])).not.toContain('very-secret');
  });

  it('a log: of a conversion, of requests, of a failure', async () => {
    const lines: Record<string, unknown>[] = [];
    const registry = await startDemoRegistry({ layout: layout.directory });
    const image = `${registry.host}/app:base`;
    for (const args of [
      ['convert', '-r', place(), '-i', 'base', '-o', 'logged', '--verbose'],
      ['inspect', image, '--plain', '--http-trace'],
      ['ls', named(FULL)],
      ['ls', named('gone')],
      ['ls', '--no-such-flag'],
    ]) {
      const { errors } = await run([...args, '--log-format', 'json']);
      lines.push(
        ...errors
          .trimEnd()
          .split('\n')
          .map((line) => JSON.parse(line) as Record<string, unknown>),
      );
    }
    await registry.close();
    expect(lines.flatMap((line) => complaints('log', line))).toEqual([]);
    expect(lines).toContainEqual(
      expect.objectContaining({ fields: expect.objectContaining({ event: 'tagged', tag: 'logged' }) }),
    );
    expect(lines).toContainEqual(
      expect.objectContaining({ level: 'debug', fields: expect.objectContaining({ method: 'GET', status: 200 }) }),
    );
    const failed = lines.filter(({ level }) => level === 'error').map(({ fields }) => fields);
    expect(failed).toMatchObject([
      { code: 'not-found', exitCode: 1 },
      { code: 'usage', exitCode: 2 },
    ]);
    seen.add('log');
  });

  it('what the Action hands on', () => {
    const outputs = [{ tag: '1_accelerated', kind: 'full' }] as const;
    const result = sampleResult({ repository: 'ghcr.io/team/app', outputs });
    const converted = {
      decision: {
        event: 'convert' as const,
        repository: 'ghcr.io/team/app',
        source: { tag: '1' },
        digest: result.source.digest,
        reason: 'an ordinary image',
      },
      repository: 'ghcr.io/team/app',
      tags: convertedTags(result),
      layers: convertedLayers(result),
      result,
    };
    const outcome = JSON.parse(outputsOf(converted).json) as unknown;
    expect(complaints('action', outcome)).toEqual([]);
    expect(complaints('action', noticeOf(converted).document)).toEqual([]);
    seen.add('action');
  });
});

it('every schema was met by a document, and is named on the page', async () => {
  const names = (await readdir(SCHEMAS)).map((file) => file.replace('.json', ''));
  expect([...seen].sort()).toEqual(names.sort());
  const page = readFileSync(join(SCHEMAS, '../json.md'), 'utf8');
  for (const name of names) expect(page).toContain(`(schemas/${name}.json)`);
});

// The judge must see what it forbids.
it.each([
  ['error', { formatVersion: 2, error: { code: 'usage', message: '', where: {} }, exitCode: 2 }],
  ['error', { formatVersion: 1, error: { code: 'usage', message: '', where: {} }, exitCode: 2, more: 1 }],
  ['error', { error: { code: 'usage', message: '', where: {} }, exitCode: 2 }],
  ['ls', { formatVersion: 1, reference: 'a', platform: 'b', path: '/', entries: [{ path: '/' }] }],
])('%s refuses %j', (name, wrong) => expect(complaints(name, wrong)).not.toEqual([]));
