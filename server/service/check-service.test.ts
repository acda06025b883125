/** `accel serve --check`: what the start would refuse, and what would fail for each image. */
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type TempDirectory, tempDirectory } from '../../tests/support/tools.ts';
import { parseConfig } from '../config/load.ts';
import { checkService } from './check-service.ts';
import { failureText } from './failure-text.ts';
import { checkAddress } from './serve-api.ts';
import { openSqliteQueue } from './sqlite.ts';

const RULE = { repositories: ['registry.example.com/team/*'] };
const AUTHORITY = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n';

let folder: TempDirectory;
const at = (name: string): string => join(folder.path, name);
beforeAll(async () => {
  folder = await tempDirectory();
  await writeFile(at('secret'), 'a-secret\n');
  await writeFile(at('header'), 'Bearer a-secret\n');
  await writeFile(at('empty'), '\n');
  await writeFile(at('config.json'), '{"auths":{}}');
  await writeFile(at('broken.json'), '{"auths":{"h":{"auth":"cGFzc3dvcmQ="');
  await writeFile(at('authority.pem'), AUTHORITY);
});
afterAll(() => folder.remove());

const check = (config: object, role = 'both'): Promise<readonly string[]> =>
  checkService(role, parseConfig(JSON.stringify({ rules: [RULE], ...config }), 'accel.yaml'));

describe('checkService', () => {
  it('accepts files that can be read', async () => {
    await mkdir(at('work'));
    const service = { hooks: { harbor: { authorizationFile: at('header') } }, workDirectory: at('work') };
    const registries = [{ host: 'registry.example.com', credentialsFile: at('config.json') }];
    expect(await check({ registries, service })).toEqual([]);
  });

  it('warns of what is rarely meant', async () => {
    expect(await check({ rules: [] })).toEqual(['no rules are configured: nothing is converted']);
    expect(await check({ service: { listen: '0.0.0.0:8686' } })).toEqual([
      'service.tokens is empty and service.listen is not loopback: the API and the console refuse everyone',
    ]);
  });

  const refusals: readonly (readonly [string, () => object, object])[] = [
    ['a secret that is missing', () => hooks({ harbor: { authorizationFile: at('none') } }), { found: 'ENOENT' }],
    ['an empty secret', () => hooks({ harbor: { secretFile: at('empty') } }), { found: 'an empty file' }],
    ['basicFile without a colon', () => hooks({ quay: { basicFile: at('secret') } }), { expected: 'USER:PASSWORD' }],
    [
      'Artifactory without its host',
      () => hooks({ artifactory: { secretFile: at('secret') } }),
      { found: 'no registry' },
    ],
    ['zot without its host', () => hooks({ zot: {} }), { found: 'no registry' }],
    [
      'a token with a word before it',
      () => service({ tokens: [{ name: 'ci', file: at('header') }] }),
      { message: 'a token has white space in it' },
    ],
    [
      'an expression that cannot be',
      () => service({ notifications: [{ url: 'http://a/', expression: '(?=a)' }] }),
      { code: 'usage' },
    ],
    ['a folder that is missing', () => service({ workDirectory: at('none') }), { found: 'ENOENT' }],
    ['a file in place of a folder', () => service({ workDirectory: at('secret') }), { found: 'a file' }],
    ['credentials that are missing', () => registry({ credentialsFile: at('none') }), { found: 'ENOENT' }],
    ['credentials that are no JSON', () => registry({ credentialsFile: at('broken.json') }), { found: 'no JSON' }],
    [
      'an authority that is no PEM',
      () => registry({ caFile: at('secret') }),
      { where: { key: 'registries[0].caFile' } },
    ],
    [
      'an authority that is no certificate',
      () => registry({ caFile: at('authority.pem') }),
      { found: 'certificate 1 cannot be read' },
    ],
    ['a platform without architecture', () => rule({ platforms: ['linux'] }), { where: { rule: 1, key: 'platforms' } }],
    [
      'a target without host',
      () => rule({ targetRepository: 'team/app' }),
      { where: { rule: 1, key: 'targetRepository' } },
    ],
    [
      'a target that is a folder',
      () => rule({ targetRepository: 'oci:/tmp/x' }),
      { message: 'converted images go to a registry' },
    ],
    [
      'a target with a tag',
      () => rule({ targetRepository: 'a.example/b:1' }),
      { where: { rule: 1, key: 'targetRepository' } },
    ],
    ['a repository with a tag', () => rule({ repositories: ['a.example/b:1'] }), { found: 'a.example/b:1' }],
    ['a relative path', () => rule({ prefetch: ['usr/bin'] }), { where: { rule: 1, key: 'prefetch', line: 1 } }],
    ['a watch without host', () => service({ watch: [{ repositories: ['team/*'] }] }), { where: { watch: 1 } }],
  ];
  it.each(refusals)('refuses %s', async (_, config, expected) => {
    const { code } = expected as { code?: string };
    await expect(check(config())).rejects.toMatchObject({ code: code ?? 'usage', ...expected });
  });

  it('quotes no credential', async () => {
    const error = await check(registry({ credentialsFile: at('broken.json') })).catch((one: unknown) => one);
    expect(JSON.stringify([error, (error as Error).message, (error as Error).cause])).not.toContain('cGFzc3dvcmQ');
  });

  it('quotes no part of a password that makes the address of the database another one', async () => {
    for (const store of ['postgres://accel:p@ss/word@db.example/accel', 'postgres://accel:ss/word@db.example/accel']) {
      const error: unknown = await check(service({ store })).catch((one: unknown) => one);
      expect(error).toMatchObject({ code: 'usage', message: 'this is not the address of a database' });
      expect(JSON.stringify([error, (error as Error).message, (error as Error).cause])).not.toMatch(/ss\/word|@ss/);
    }
    expect(await check(service({ store: 'postgres:///accel?host=/run/postgresql&user=a@b' }))).toEqual([]);
  });

  it('asks a process that converts nothing for no folder', async () => {
    const store = 'postgres://accel@127.0.0.1/accel';
    expect(await check(service({ workDirectory: at('none'), store }), 'api')).toEqual([]);
    await expect(check(service({}), 'api')).rejects.toMatchObject({ expected: 'postgres://…' });
  });

  it('refuses a store of another kind', () => {
    expect(() => parseConfig('service: { store: "mysql://user@host/queue" }', 'accel.yaml')).toThrow(
      '"service.store" is not a path or a postgres:// URL',
    );
    // The scheme is mistyped, the password right.
    expect(() => parseConfig('service: { store: "postgre://accel:pass-word@host/queue" }', 'accel.yaml')).toThrow(
      '"service.store" is not a path or a postgres:// URL, found "postgre://…"',
    );
    for (const store of [
      '/var/lib/accel/queue.db',
      'queue.db',
      './a:b/queue.db',
      'postgres://u:p@h/d',
      'postgresql://h/d',
    ]) {
      expect(parseConfig(JSON.stringify({ service: { store } }), 'accel.yaml').service.store).toBe(store);
    }
  });
});

it('a queue in a folder that cannot be made is an error that says what to do', async () => {
  await expect(openSqliteQueue({ path: '/proc/accel/queue.db' })).rejects.toMatchObject({
    message: 'the folder of the queue cannot be made',
    where: { key: 'service.store' },
    hint: expect.stringContaining('service.store'),
  });
});

it('an address that is in use is an error before anything starts', async () => {
  const other = createServer().listen(0, '127.0.0.1');
  await once(other, 'listening');
  const listen = `127.0.0.1:${(other.address() as AddressInfo).port}`;
  await expect(checkAddress(listen)).rejects.toMatchObject({ where: { key: 'service.listen', address: listen } });
  await new Promise((resolve) => other.close(resolve));
  await checkAddress(listen);
});

it('a failure in the log says what was found', () => {
  expect(failureText({ message: 'no answer', found: 'certificate has expired' })).toBe(
    'no answer (certificate has expired)',
  );
  expect(failureText({ message: 'no answer' })).toBe('no answer');
});

function service(value: object): object {
  return { service: value };
}

function hooks(value: object): object {
  return service({ hooks: value });
}

function rule(value: object): object {
  return { rules: [{ ...RULE, ...value }] };
}

function registry(value: object): object {
  return { registries: [{ host: 'registry.example.com', ...value }] };
}
