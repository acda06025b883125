import { afterAll, beforeAll, expect, test } from 'vitest';
import { bytesSource } from '../../base/byte-source.ts';
import { htpasswdLine, startRegistry, type TestRegistry } from '../../tests/support/registry.ts';
import { describeWith } from '../../tests/support/tools.ts';
import { blob, rejects } from '../contract.ts';
import { OCI } from '../media-types.ts';
import { canListTags, canRemoveManifests } from '../powers.ts';
import { listRepositories } from './name-lists.ts';
import { openRegistry } from './registry-target.ts';
import { startScripted } from './testing/scripted-server.ts';

/** Nothing of the machine's own credentials and proxies. */
const env = { HOME: '/nonexistent', PATH: process.env.PATH };
const LOGIN = { username: 'ann', password: 'a password' };

describeWith({ tools: ['docker-registry', 'htpasswd'] }, 'the lists of docker-registry', () => {
  let registry: TestRegistry;
  beforeAll(async () => {
    registry = await startRegistry({ htpasswd: await htpasswdLine(LOGIN.username, LOGIN.password) });
  });
  afterAll(() => registry?.stop());

  const open = (repository: string) =>
    openRegistry({ registry: registry.host, repository }, { plain: true, env, ...LOGIN });

  /** Pushes an image without layers, and returns its descriptor. */
  async function push(repository: string, content: string, tags: readonly string[]) {
    const target = await open(repository);
    const config = new TextEncoder().encode(JSON.stringify({ architecture: 'amd64', os: 'linux', content }));
    const descriptor = { ...blob(config), mediaType: OCI.config };
    await target.push(descriptor, bytesSource(config));
    const manifest = { schemaVersion: 2, mediaType: OCI.manifest, config: descriptor, layers: [] };
    const bytes = new TextEncoder().encode(JSON.stringify(manifest));
    const named = { ...blob(bytes), mediaType: OCI.manifest };
    await target.push(named, bytesSource(bytes));
    for (const tag of tags) await target.tag(named, tag);
    await target.close();
    return named;
  }

  test('all tags are listed, over as many pages as it takes', async () => {
    const tags = Array.from({ length: 23 }, (_, index) => `v${String(index).padStart(2, '0')}`);
    await push('lists/many', 'one', tags.toReversed());
    const target = await open('lists/many');
    expect(canListTags(target)).toBe(true);
    expect(await target.tags()).toEqual(tags);
    await target.close();
  });

  test('a repository that does not exist has no tags', async () => {
    const target = await open('lists/nothing');
    expect(await target.tags()).toEqual([]);
    await target.close();
  });

  test('the catalogue lists repositories, to those who may see it', async () => {
    await push('lists/a', 'a', ['1']);
    await push('lists/b', 'b', ['1']);
    expect(await listRepositories(registry.host, { plain: true, env, ...LOGIN })).toEqual(
      expect.arrayContaining(['lists/a', 'lists/b']),
    );
    expect(await listRepositories(registry.host, { plain: true, env })).toBeUndefined();
  });

  test('a manifest is removed with its tags', async () => {
    const gone = await push('lists/gone', 'gone', ['1', '2']);
    await push('lists/gone', 'kept', ['3']);
    const target = await open('lists/gone');
    expect(canRemoveManifests(target)).toBe(true);
    expect(await target.removeManifest(gone.digest)).toBe('removed');
    await rejects(target.resolve('1'), 'not-found');
    expect(await target.tags()).toEqual(['3']);
    expect(await target.removeManifest(gone.digest)).toBe('absent');
    await target.close();
  });
});

test('a registry that lets nothing be removed is named as such', async () => {
  const server = await startScripted(() => ({ status: 405, body: '{"errors":[{"code":"UNSUPPORTED"}]}' }));
  const target = await openRegistry({ registry: server.host, repository: 'r' }, { plain: true, env });
  const error = await target.removeManifest(`sha256:${'0'.repeat(64)}`).catch((caught: unknown) => caught);
  expect(error).toMatchObject({ code: 'registry-error', message: 'the registry does not let manifests be removed' });
  await target.close();
  await server.stop();
});

test.each([
  ['{"tags":null}', []],
  ['{"tags":["b","a",7,null,"a"]}', ['a', 'b']],
])('the list %s has the names %j', async (body, tags) => {
  const server = await startScripted(() => ({ status: 200, body }));
  const target = await openRegistry({ registry: server.host, repository: 'r' }, { plain: true, env });
  expect(await target.tags()).toEqual(tags);
  await target.close();
  await server.stop();
});

test.each(['', '[]', 'null', '{"tags":7}', '<html>'])('the list %j is an error of the registry', async (body) => {
  const server = await startScripted(() => ({ status: 200, body }));
  const target = await openRegistry({ registry: server.host, repository: 'r' }, { plain: true, env });
  await rejects(target.tags(), 'registry-error');
  await target.close();
  await server.stop();
});

test('a list whose pages never end is given up', async () => {
  let page = 0;
  const server = await startScripted(() => {
    page += 1;
    return { status: 200, headers: { link: `</v2/r/tags/list?last=${page}>; rel="next"` }, body: '{"tags":["a"]}' };
  });
  const target = await openRegistry({ registry: server.host, repository: 'r' }, { plain: true, env });
  await rejects(target.tags({ signal: AbortSignal.timeout(60_000) }), 'registry-error');
  expect(page).toBe(2000);
  await target.close();
  await server.stop();
});
