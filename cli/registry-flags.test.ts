import { describe, expect, it } from 'vitest';
import { type RegistryFlags, registryChoice } from './registry-flags.ts';

async function* input(...chunks: string[]) {
  for (const chunk of chunks) yield Buffer.from(chunk);
}

describe('registryChoice', () => {
  it.each<[string, RegistryFlags, string, unknown]>([
    ['nothing', {}, '', {}],
    ['user and password', { username: 'ci:secret' }, '', { username: 'ci', password: 'secret' }],
    ['colons in the password', { username: 'ci:a:b:' }, '', { username: 'ci', password: 'a:b:' }],
    ['empty password', { username: 'ci:' }, '', { username: 'ci', password: '' }],
    ['standard input', { username: 'ci', passwordStdin: true }, 'a:b\n', { username: 'ci', password: 'a:b' }],
    [
      'only one newline is cut',
      { username: 'ci', passwordStdin: true },
      ' a \n\n',
      { username: 'ci', password: ' a \n' },
    ],
    ['windows newline', { username: 'ci', passwordStdin: true }, 'a\r\n', { username: 'ci', password: 'a' }],
    ['chunks', { chunkSize: 65_536 }, '', { chunkSize: 65_536 }],
    ['tls', { plain: true, rootCa: ['ca.pem'] }, '', { plain: true, rootCa: ['ca.pem'] }],
  ])('%s', async (_, flags, stdin, expected) => {
    const { credentialsFrom: __, ...choice } = await registryChoice(flags, input(stdin));
    expect(choice).toEqual(expected);
  });

  it.each<[RegistryFlags, string | undefined]>([
    [{}, undefined],
    [{ username: 'ci:secret' }, '-u'],
    [{ username: 'ci', passwordStdin: true }, '-u and --password-stdin'],
  ])('says where the login of %j is from', async (flags, from) => {
    expect((await registryChoice(flags, input('secret'))).credentialsFrom).toBe(from);
  });

  it('takes a password that arrives in pieces', async () => {
    const flags = { username: 'ci', passwordStdin: true };
    expect(await registryChoice(flags, input('se', 'cr', 'et\n'))).toMatchObject({
      username: 'ci',
      password: 'secret',
    });
  });

  it.each<[string, RegistryFlags, string]>([
    ['no user for standard input', { passwordStdin: true }, 'x'],
    ['no password', { username: 'ci' }, ''],
    ['no user name', { username: ':secret' }, ''],
    ['two passwords', { username: 'ci:secret', passwordStdin: true }, 'x'],
    ['empty input', { username: 'ci', passwordStdin: true }, '\n'],
    ['endless input', { username: 'ci', passwordStdin: true }, 'x'.repeat(65_537)],
  ])('refuses %s, without showing the secret', async (_, flags, stdin) => {
    const error: unknown = await registryChoice(flags, input(stdin)).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'usage' });
    expect(JSON.stringify(error)).not.toContain('secret');
  });
});
