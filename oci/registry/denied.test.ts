/** Messages for refusals: each case in the ways in which real registries refuse. */
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { expect, test } from 'vitest';
import { bytesSource } from '../../base/byte-source.ts';
import { withTempDirectory } from '../../tests/support/tools.ts';
import { rejects } from '../contract.ts';
import type { RegistryOptions } from './registry-options.ts';
import type { Answer, Script } from './testing/scripted-server.ts';
import { bytes, descriptor, scripted } from './testing/scripted-target.ts';

const LOGIN = { username: 'ann', password: 'hunter22', credentialsFrom: '-u' };

/** A registry that knows Basic alone and answers what it accepts by `status`. */
const basicRegistry =
  (accepts: string, status = 403): Script =>
  ({ headers }) =>
    headers.authorization === `Basic ${Buffer.from(accepts).toString('base64')}`
      ? { status, body: '{"errors":[{"code":"DENIED","message":"no push"}]}' }
      : { status: 401, headers: { 'www-authenticate': 'Basic realm="r"' }, body: 'who are you' };

/** A registry with a token server that answers `token`, and by `status` whoever brings one. */
const tokenRegistry =
  (token: Answer, status = 403): Script =>
  ({ url, headers }) => {
    if (url.startsWith('/token')) return token;
    const challenge = { 'www-authenticate': `Bearer realm="http://${headers.host}/token",service="s"` };
    return headers.authorization === undefined ? { status: 401, headers: challenge } : { status, headers: challenge };
  };

const token: Answer = { body: '{"token":"t"}' };

test.each<[string, Script, RegistryOptions, RegExp, RegExp]>([
  ['no login, Basic', basicRegistry('ann:right'), {}, /begin an upload without a login/, /docker login/],
  ['no login, a token server that wants one', tokenRegistry({ status: 401 }), {}, /without a login/, /docker login/],
  ['no login, a token for nobody', tokenRegistry(token, 401), {}, /without a login/, /docker login/],
  ['a wrong password, Basic', basicRegistry('ann:right'), LOGIN, /did not accept the password of ann$/, /from: -u/],
  ['a wrong password, token server', tokenRegistry({ status: 401 }), LOGIN, /not accept the password of ann$/, /-u/],
  ['GHCR and GitLab: 403 for both', tokenRegistry({ status: 403 }), LOGIN, /of ann, or does not allow ann to/, /-u/],
  ['a right password, Basic, no push', basicRegistry('ann:hunter22'), LOGIN, /accepted the .* not allow ann/, /push/],
  ['a right password, token, no push', tokenRegistry(token), LOGIN, /accepted the .* not allow ann to/, /push/],
  ['no challenge', () => ({ status: 403 }), LOGIN, /not allow to begin .* did not ask for/, /of ann was not sent/],
  [
    'a challenge of another kind',
    () => ({ status: 401, headers: { 'www-authenticate': 'Negotiate' } }),
    LOGIN,
    /did not ask for/,
    /of ann was not sent/,
  ],
  [
    'a right password, a token that is too small (Docker Hub)',
    tokenRegistry(token, 401),
    LOGIN,
    /not allow ann/,
    /push/,
  ],
])('%s', async (_, script, options, message, hint) => {
  const { target, server } = await scripted(
    (request, seen) => (request.method === 'HEAD' ? { status: 404 } : script(request, seen)),
    options,
  );
  const error = await rejects(target.push(descriptor, bytesSource(bytes)), 'unauthorized');
  expect(error.message).toMatch(message);
  expect(JSON.stringify(error.hint)).toMatch(hint);
  expect(error.where).toMatchObject({
    registry: server.host,
    credentials: options.username === undefined ? 'none' : '-u',
    ...(options.username === undefined ? {} : { user: 'ann' }),
  });
  expect(JSON.stringify(error) + error.message).not.toContain('hunter22');
});

test('the file that a wrong password is from is named', async () => {
  await withTempDirectory(async (home) => {
    const { target, server } = await scripted(basicRegistry('ann:right'), { env: { HOME: home } });
    const file = path.join(home, '.docker', 'config.json');
    await mkdir(path.dirname(file));
    const auth = Buffer.from('ann:hunter22').toString('base64');
    await writeFile(file, JSON.stringify({ auths: { [server.host]: { auth } } }));
    const error = await rejects(target.resolve('v1'), 'unauthorized');
    expect(error.where).toMatchObject({ user: 'ann', credentials: file });
  });
});

test('a store behind a redirect that refuses says nothing of the login', async () => {
  const store = await scripted(() => ({ status: 403, body: '<Error>AccessDenied</Error>' }));
  const { target } = await scripted(
    () => ({ status: 307, headers: { location: `${store.server.url}/bucket` } }),
    LOGIN,
  );
  const error = await rejects(target.fetch(descriptor), 'unauthorized');
  expect(error.message).not.toContain('password');
  expect(error.where.user).toBeUndefined();
});
