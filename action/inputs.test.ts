import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { readAction } from '../tests/support/runner.ts';
import { INPUT_NAMES, readInputs, secretsOf } from './inputs.ts';
import { OUTPUT_NAMES } from './outputs.ts';

const env = (inputs: Record<string, string>) =>
  Object.fromEntries(Object.entries(inputs).map(([name, value]) => [`INPUT_${name.toUpperCase()}`, value]));
const read = (inputs: Record<string, string>) => readInputs(env(inputs));

it('action.yml declares what is read, and its defaults are those of the code', async () => {
  const { inputs, outputs } = await readAction();
  expect(Object.keys(inputs)).toEqual([...INPUT_NAMES]);
  expect(Object.keys(outputs)).toEqual([...OUTPUT_NAMES]);
  const defaults = Object.fromEntries(Object.entries(inputs).map(([name, input]) => [name, input.default ?? '']));
  const { mode, expression, ...declared } = read(defaults);
  const { mode: _, expression: __, ...known } = read({});
  expect(declared).toEqual(known);
  expect([mode, expression]).toEqual(['full', '_accelerated$']);
});

it('an empty input counts as not given', () => {
  expect(read({ tag: '', repository: '  ', password: '', platforms: '\n' })).toEqual(read({}));
});

it('reads lists, switches and credentials', () => {
  const inputs = read({
    platforms: 'linux/amd64, linux/arm64\nlinux/arm/v7',
    username: 'octocat',
    password: 'a:b',
    plain: 'True',
    'root-ca': 'one.pem\ntwo.pem',
    'min-rate': '4K',
    'max-wait': '0',
    timeout: '1h30m',
    'fail-on-skip': 'TRUE',
    cache: 'false',
    verify: 'off',
  });
  expect(inputs).toMatchObject({
    platforms: ['linux/amd64', 'linux/arm64', 'linux/arm/v7'],
    registry: {
      username: 'octocat',
      password: 'a:b',
      credentialsFrom: 'the inputs username and password',
      plain: true,
      rootCa: ['one.pem', 'two.pem'],
      minRate: 4096,
      maxWait: 0,
    },
    timeout: 5_400_000,
    failOnSkip: true,
    cache: false,
    verify: 'off',
  });
});

it('the target has its own user and shares the other registry options', () => {
  const { targetRegistry } = read({
    ...{ plain: 'true', username: 'a', password: 'b', 'target-repository': 'host/x' },
    ...{ 'target-username': 'c', 'target-password': 'd' },
  });
  expect(targetRegistry).toEqual({
    plain: true,
    username: 'c',
    password: 'd',
    credentialsFrom: 'the inputs target-username and target-password',
  });
});

it('prefetch is a list inline, or a file with one', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'accel-inputs-'));
  try {
    const file = join(directory, 'list');
    await writeFile(file, '# of the server\n/usr/bin/app\n\n  /etc/app.conf\n');
    expect(read({ prefetch: file }).prefetch).toEqual(['/usr/bin/app', '/etc/app.conf']);
    expect(read({ prefetch: '/usr/bin/app\n/etc' }).prefetch).toEqual(['/usr/bin/app', '/etc']);
    expect(read({ prefetch: '/usr' }).prefetch).toEqual(['/usr']);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
});

it.each<[string, Record<string, string>]>([
  ['mode', { mode: 'fast' }],
  ['verify', { verify: 'yes' }],
  ['plain', { plain: '1' }],
  ['min-rate', { 'min-rate': '1 byte' }],
  ['max-wait', { 'max-wait': '-1' }],
  ['timeout', { timeout: '0' }],
  ['password', { username: 'octocat' }],
  ['username', { password: 'hush-hush' }],
  ['target-password', { 'target-repository': 'x/y', 'target-username': 'octocat' }],
  ['target-repository', { 'target-username': 'octocat', 'target-password': 'hush-hush' }],
  ['notify-url', { 'notify-secret': 'hush-hush' }],
])('a wrong %s is named, no secret with it', (name, inputs) => {
  const refused = expect.objectContaining({ code: 'usage', message: expect.stringContaining(name) });
  expect(() => read(inputs)).toThrow(refused);
  expect(() => read(inputs)).not.toThrow(/hush/);
});

it('finds the secrets without checking anything', () => {
  expect(secretsOf(env({ mode: 'fast', password: 'a', 'notify-secret': 'b', tag: 'c' }))).toEqual(['a', 'b']);
});
