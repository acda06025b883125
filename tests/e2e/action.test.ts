/** The bundle of the Action, started as GitHub's runner starts it, against a real registry. */
import { createHash, createHmac } from 'node:crypto';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildIndexLayout, buildLayout } from '../../fixtures/image-builder.ts';
import { TarBuilder } from '../../fixtures/tar-builder.ts';
import { accel } from '../support/accel.ts';
import { smallTar } from '../support/converter.ts';
import { eventAbout, eventFixture } from '../support/events.ts';
import { type Loopback, listen } from '../support/loopback.ts';
import { htpasswdLine, makeCertificates, startRegistry, type TestRegistry } from '../support/registry.ts';
import { listTags, readStored } from '../support/registry-store.ts';
import { ACTION_NODE, readAction, runStep, type StepOptions, type StepRun } from '../support/runner.ts';
import { describeWith, run, type TempDirectory, tempDirectory } from '../support/tools.ts';
import { noisyLayers } from './noisy-image.ts';

const TOOLS = ['docker-registry', 'skopeo'];
const SECRET = 'hush: keep this';
/** The commands that the Action may send to the runner; any other would come from an image. */
const COMMANDS = ['group', 'endgroup', 'add-mask', 'error', 'warning', 'notice'];

let scratch: TempDirectory;
let layout: string;
beforeAll(async () => {
  scratch = await tempDirectory('accel-action-');
  layout = join(scratch.path, 'layout');
  await buildLayout(layout, 'app', [{ tar: smallTar(1) }, { tar: smallTar(2) }]);
  await buildLayout(layout, 'other', [{ tar: smallTar(3) }]);
  await buildLayout(layout, 'large', noisyLayers(3, 6_000_000));
  // Names that a runner would take for commands; accel says something about each, for its time is past what ext4 holds.
  const hostile = new TarBuilder();
  for (let count = 0; count < 4; count++)
    for (const name of ['##[add-path]/tmp', '\n::add-path::/tmp', '::error::x', '%0A::error::| a | <img src=x> `'])
      hostile.file(`${name}${count}`, 'x', { mtime: String(2 ** 40) });
  await buildLayout(layout, 'hostile', [{ tar: hostile.build() }]);
  const member = (architecture: string) => ({
    layers: [{ tar: smallTar(4) }],
    options: { platform: { os: 'linux', architecture } },
  });
  await buildIndexLayout(layout, 'multi', [member('amd64'), member('arm64')]);
});
afterAll(() => scratch?.remove());

async function push(tag: string, reference: string, ...flags: string[]): Promise<void> {
  await run('skopeo', ['copy', '--all', ...flags, `oci:${layout}:${tag}`, `docker://${reference}`]);
}

const OVER_HTTP = '--dest-tls-verify=false';

/** Runs a step and looks at what no step may do. */
async function step(options: StepOptions): Promise<StepRun> {
  const result = await runStep(options);
  expect(result.commands.map(({ name }) => name).filter((name) => !COMMANDS.includes(name))).toEqual([]);
  const shown = result.log.replace(/^::add-mask::.*$/gm, '') + result.summary + JSON.stringify(result.outputs);
  expect(shown).not.toMatch(/hush|T0K3N/);
  return result;
}

const errorOf = ({ commands }: StepRun): string => commands.find(({ name }) => name === 'error')?.data ?? '';

test('the Node that runs the bundle is the one that action.yml asks for, where CI says which', async () => {
  const { stdout } = await run(ACTION_NODE, ['--version']);
  const { using } = (await readAction()).runs;
  if (process.env.ACCEL_ACTION_NODE !== undefined) expect(`node${/\d+/.exec(stdout.toString())?.[0]}`).toBe(using);
});

describeWith({ tools: TOOLS }, 'a step', () => {
  let registry: TestRegistry;
  let repository: string;
  beforeAll(async () => {
    registry = await startRegistry();
    repository = `${registry.host}/octo-org/app`;
    for (const tag of ['app', 'other', 'multi', 'hostile', 'large']) await push(tag, `${repository}:${tag}`, OVER_HTTP);
  });
  afterAll(() => registry?.stop());

  const plain = (inputs: Record<string, string>) => ({ plain: 'true', ...inputs });
  const about = (fixture: string, tag: string, name = 'registry_package') => ({
    name,
    payload: eventAbout(fixture, repository, tag),
  });

  test('by its inputs converts, verifies, and reports it in outputs, summary and log', async () => {
    const { exitCode, outputs, summary, commands, log } = await step({
      with: plain({ repository, tag: 'app', verify: 'full' }),
    });
    expect(exitCode, log).toBe(0);
    const stored = async (tag: string) => (await readStored(registry, 'octo-org/app', tag)).digest;
    expect(outputs).toMatchObject({
      event: 'convert',
      tags: `${repository}:app_accelerated\n${repository}:app_containerd_accelerated`,
      digest: await stored('app_accelerated'),
      'containerd-digest': await stored('app_containerd_accelerated'),
    });
    const document = JSON.parse(outputs.json!);
    expect(document.tags.map(({ verified }: { verified: unknown }) => verified)).toEqual([true, true]);
    expect(outputs.size).toBe(String(document.tags[0].size));
    expect(Number(outputs.ratio)).toBeCloseTo(document.tags[0].ratio, 3);
    expect(summary).toContain(`<code>${repository}:app_accelerated</code> | full |`);
    expect(summary).toContain('linux/amd64: 2 layers');
    expect(summary).toMatch(/\| 1 \| <code>[0-9a-f]{12}<\/code> \| \d/);
    const names = commands.map(({ name }) => name).join(' ');
    expect(names).toBe('group endgroup group endgroup group endgroup');

    const again = await step({ with: plain({ repository, tag: 'app', verify: 'full' }) });
    expect(again.outputs.digest).toBe(outputs.digest);
    expect(again.summary).toContain('already up to date');
    // Whoever may push could have forged what claims to be up to date: both tags are compared before the step succeeds.
    expect(again.commands.map(({ name }) => name).join(' ')).toBe('group endgroup group endgroup group endgroup');
    const finished = await step({ with: plain({ repository, tag: 'app_accelerated', verify: 'full' }) });
    expect(finished.outputs).toMatchObject({ event: 'accelerated', digest: outputs.digest });
    expect(finished.summary).toContain('| yes |');
  });

  test('of an index converts its platforms, or those that are asked for', async () => {
    const { outputs, summary } = await step({
      with: plain({
        repository,
        tag: 'multi',
        'output-tag': 'multi_arm',
        platforms: 'linux/arm64',
        mode: 'index-only',
      }),
    });
    expect(outputs).toMatchObject({ event: 'convert', tags: `${repository}:multi_arm`, 'containerd-digest': '' });
    expect(summary).toContain('linux/arm64: 1 layer');
    expect(summary).toMatch(/^Left out, not asked for: linux\/amd64 <code>[0-9a-f]{12}<\/code>\.$/m);
  });

  test('puts the paths of its input prefetch onto what it converts', async () => {
    const { exitCode, log } = await step({
      with: plain({ repository, tag: 'app', 'output-tag': 'app_prefetch', prefetch: '# first\n/link1\n/d2/\n' }),
    });
    expect(exitCode, log).toBe(0);
    const shown = await accel(['prefetch', 'show', `${repository}:app_prefetch`, '--plain', '--json']);
    expect(shown.exitCode, shown.stderr).toBe(0);
    expect(JSON.parse(shown.stdout)).toMatchObject({
      prefetch: { form: 'trace', entries: 6, missing: [], outside: 0 },
    });
  });

  describe('on an event', () => {
    test.each<[string, string, string]>([
      ['registry-package-published', 'registry_package', 'convert'],
      ['registry-package-updated', 'registry_package', 'convert'],
      ['registry-package-documented', 'registry_package', 'skipped other-repository'],
      ['registry-package-child', 'registry_package', 'skipped untagged'],
      ['registry-package-docker', 'registry_package', 'skipped other-repository'],
      ['registry-package-npm', 'registry_package', 'skipped not-a-container'],
      ['repository-dispatch', 'repository_dispatch', 'convert'],
    ])('%s', async (fixture, name, expected) => {
      const { exitCode, outputs, log } = await step({
        with: plain({ repository, verify: 'off' }),
        event: about(fixture, 'app', name),
      });
      expect(exitCode, log).toBe(0);
      const { code } = JSON.parse(outputs.json!);
      expect(`${outputs.event}${code === undefined ? '' : ` ${code}`}`).toBe(expected);
    });

    test('without an image the step says what it needs', async () => {
      const { exitCode, log } = await step({ event: { name: 'push', payload: { ref: 'refs/heads/main' } } });
      expect(exitCode).toBe(2);
      expect(log).toContain('::error title=accel%3A usage::');
    });

    test('a skip fails the step where that is asked for', async () => {
      const event = { name: 'registry_package', payload: eventFixture('registry-package-child') };
      const failed = await step({ with: { 'fail-on-skip': 'true' }, event });
      expect(failed.exitCode).toBe(3);
      expect(failed.outputs).toMatchObject({ event: 'skipped', tags: '', digest: '' });
      expect(errorOf(failed)).toContain('(untagged)');
      expect((await step({ event })).commands.map(({ name }) => name)).toEqual(['notice']);
    });

    test('a password goes to no registry that the event alone names', async () => {
      const event = about('repository-dispatch', 'app', 'repository_dispatch');
      const { exitCode, log } = await step({ with: plain({ username: 'octocat', password: SECRET }), event });
      expect(exitCode).toBe(2);
      expect(log).toContain('Set the input repository');
    });
  });

  describe('of a finished conversion', () => {
    let receiver: Loopback;
    let url: string;
    let taken: { readonly body: string; readonly signature: string | undefined }[] = [];
    beforeAll(async () => {
      const server = createServer(async (request, response) => {
        let body = '';
        for await (const chunk of request) body += String(chunk);
        const { 'x-accel-signature-256': signature } = request.headers;
        taken.push({ body, signature: signature as string | undefined });
        // The first time it fails: the step has to come again.
        response.writeHead(taken.length === 1 ? 503 : 204).end();
      });
      receiver = await listen(server);
      url = `http://${receiver.host}/hook/T0K3N`;
      await step({ with: plain({ repository, tag: 'other', verify: 'off' }) });
    });
    afterAll(() => receiver.stop());

    test('verifies both tags and notifies the web hook once, signed', async () => {
      const inputs = plain({ 'notify-url': url, 'notify-secret': SECRET, verify: 'full' });
      const done = await step({ with: inputs, event: about('registry-package-published', 'other_accelerated') });
      expect(done.exitCode, done.log).toBe(0);
      const twin = await step({
        with: inputs,
        event: about('registry-package-published', 'other_containerd_accelerated'),
      });
      expect(JSON.parse(twin.outputs.json!)).toMatchObject({ event: 'skipped', code: 'reported-with-other' });
      const base = await step({ with: inputs, event: about('registry-package-published', 'other') });
      expect(base.outputs.event).toBe('convert');

      expect(taken).toHaveLength(2);
      const { body, signature } = taken[1]!;
      expect(taken[0]).toEqual(taken[1]);
      expect(signature).toBe(`sha256=${createHmac('sha256', SECRET).update(body).digest('hex')}`);
      const { digest, 'containerd-digest': containerd } = done.outputs;
      expect(JSON.parse(body)).toMatchObject({
        event: 'accelerated',
        repository,
        tags: [
          { reference: `${repository}:other_accelerated@${digest}`, verified: true },
          { reference: `${repository}:other_containerd_accelerated@${containerd}`, verified: true },
        ],
      });
      expect(done.outputs.event).toBe('accelerated');
      expect(done.log).toContain(`::add-mask::${SECRET}`);
      expect(done.summary).toContain('a conversion is complete');
    });

    test('that is not what its source says fails with 5, and the web hook hears nothing', async () => {
      taken = [];
      // The image of one base, with the annotations of another's.
      const one = await readStored(registry, 'octo-org/app', 'app_accelerated');
      const other = await readStored(registry, 'octo-org/app', 'other_accelerated');
      const forged = JSON.stringify({ ...one.document, annotations: other.document.annotations });
      const answer = await fetch(`${registry.url}/v2/octo-org/app/manifests/forged_accelerated`, {
        method: 'PUT',
        headers: { 'content-type': one.document.mediaType },
        body: forged,
      });
      expect(answer.status).toBe(201);
      const failed = await step({
        with: plain({ 'notify-url': url }),
        event: about('registry-package-published', 'forged_accelerated'),
      });
      expect(failed.exitCode).toBe(5);
      expect(errorOf(failed)).toContain('[verification-failed]');
      expect(failed.outputs.digest).toBe(`sha256:${createHash('sha256').update(forged).digest('hex')}`);
      expect(failed.summary).toContain('differences**');
      expect(taken).toEqual([]);
    });
  });

  describe('that fails', () => {
    test.each<[string, Record<string, string>, number, string]>([
      ['for want of the tag', { tag: 'absent' }, 1, '[not-found]'],
      ['for want of the repository', { tag: 'app', repository: '' }, 2, 'repository is missing'],
      ['by a wrong input', { tag: 'app', mode: 'fast' }, 2, 'the input mode'],
      ['by an expression that does not parse', { tag: 'app', expression: '(' }, 2, 'expression'],
      ['by a URL in the clear', { tag: 'app', 'notify-url': 'http://192.0.2.1/T0K3N' }, 2, 'in the clear'],
    ])('%s', async (_, inputs, exitCode, text) => {
      const failed = await step({ with: plain({ repository, ...inputs }) });
      expect(failed.exitCode, failed.log).toBe(exitCode);
      expect(errorOf(failed)).toContain(text);
      expect(failed.summary).toContain('### accel: failed');
      expect(failed.outputs).toEqual({});
    });

    test('because its time is over leaves no tag behind', async () => {
      const late = await step({ with: plain({ repository, tag: 'large', timeout: '300ms' }) });
      expect(late.exitCode, late.log).toBe(1);
      expect(errorOf(late)).toContain('[timed-out]');
      expect(errorOf(late)).toContain('more time with the input timeout');
      expect((await listTags(registry, 'octo-org/app')).filter((tag) => tag.startsWith('large'))).toEqual(['large']);
    });

    test('because the job is cancelled leaves no tag behind', async () => {
      let isSent = false;
      const cancelled = await step({
        with: plain({ repository, tag: 'large' }),
        onLog(log, signal) {
          if (!isSent && log.includes('layer 1/3')) {
            isSent = true;
            signal('SIGINT');
          }
        },
      });
      expect(cancelled.exitCode, cancelled.log).toBe(130);
      expect(errorOf(cancelled)).toContain('[aborted]');
      expect((await listTags(registry, 'octo-org/app')).filter((tag) => tag.startsWith('large'))).toEqual(['large']);
    });
  });

  test('of a hostile image obeys none of its names', async () => {
    const { exitCode, log, commands } = await step({ with: plain({ repository, tag: 'hostile', verify: 'quick' }) });
    expect(exitCode, log).toBe(0);
    const warnings = commands.filter(({ name }) => name === 'warning').map(({ data }) => data);
    expect(warnings.length).toBeGreaterThan(4);
    expect(warnings.filter((text) => !text.includes('time is outside of what ext4 can hold'))).toEqual([]);
    // The conversion and the verification of each tag report all sixteen, also past those that become annotations.
    expect(log.match(/time is outside of what ext4 can hold/g)?.length).toBe(3 * 16);
  });

  test('puts the result into another repository and verifies it against the source', async () => {
    const target = `${registry.host}/octo-org/mirror`;
    const { exitCode, outputs, log } = await step({
      with: plain({ repository, tag: 'app', 'target-repository': target, verify: 'full' }),
    });
    expect(exitCode, log).toBe(0);
    expect(outputs.tags).toBe(`${target}:app_accelerated\n${target}:app_containerd_accelerated`);
    // An event of it cannot be verified there, for its base is elsewhere: that is a warning.
    const event = {
      name: 'registry_package',
      payload: eventAbout('registry-package-published', target, 'app_accelerated'),
    };
    const finished = await step({ with: plain({}), event });
    expect(finished.exitCode, finished.log).toBe(0);
    expect(
      finished.commands
        .filter(({ name }) => name === 'warning')
        .map(({ data }) => data)
        .join('\n'),
    ).toContain('cannot be verified');
  });
});

describeWith({ tools: [...TOOLS, 'openssl', 'htpasswd'] }, 'a private registry', () => {
  let registry: TestRegistry;
  let repository: string;
  let ca: string;
  beforeAll(async () => {
    const { ca: authority, cert, key } = await makeCertificates(scratch.path);
    ca = authority;
    registry = await startRegistry({ htpasswd: await htpasswdLine('octocat', SECRET), tls: { cert, key } });
    repository = `${registry.host}/octo-org/app`;
    await push('app', `${repository}:app`, OVER_HTTP, `--dest-creds=octocat:${SECRET}`);
  });
  afterAll(() => registry?.stop());

  const inputs = (more: Record<string, string>) => ({ repository, tag: 'app', 'root-ca': ca, verify: 'off', ...more });

  test('with user and password', async () => {
    const { exitCode, log } = await step({ with: inputs({ username: 'octocat', password: SECRET }) });
    expect(exitCode, log).toBe(0);
  });

  test('with what docker/login-action left behind', async () => {
    const auth = Buffer.from(`octocat:${SECRET}`).toString('base64');
    const dockerConfig = { auths: { [registry.host]: { auth } } };
    const { exitCode, log } = await step({ with: inputs({}), dockerConfig });
    expect(exitCode, log).toBe(0);
    expect(log).not.toContain(auth);
  });

  test.each<[string, Record<string, string>, number]>([
    ['no credentials', {}, 4],
    ['a wrong password', { username: 'octocat', password: `not ${SECRET}` }, 4],
    ['no authority', { 'root-ca': '', username: 'octocat', password: SECRET }, 1],
  ])('%s: the step fails', async (_, more, exitCode) => {
    const failed = await step({ with: inputs(more) });
    expect(failed.exitCode, failed.log).toBe(exitCode);
  });
});
