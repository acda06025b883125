import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AccelError } from '../../base/error.ts';
import { nearest } from '../../base/nearest.ts';
import { withTempDirectory } from '../../tests/support/tools.ts';
import { loadConfig, parseConfig } from './load.ts';
import { hostAndPort, milliseconds } from './schema.ts';

const EXAMPLE = `registries:
  - host: registry.example.com
rules:
  - repositories: ["registry.example.com/team/*"]
    tags: { exclude: ["pr-*", "*-debug"] }
    mode: full
    prefetch: ["/usr/lib/app/", "/etc/app.conf"]
service:
  listen: 0.0.0.0:8686
  store: /var/lib/accel/queue.db
  hooks:
    harbor: { authorizationFile: /run/secrets/harbor }
    distribution: { authorizationFile: /run/secrets/distribution }
    github: { secretFile: /run/secrets/github }
  notifications: [{ expression: "_accelerated$", url: "https://ci.example.com/hook", secretFile: /run/secrets/hmac }]
`;

function failureOf(text: string): AccelError {
  try {
    parseConfig(text, 'accel.yaml');
  } catch (error) {
    if (error instanceof AccelError) return error;
    throw error;
  }
  throw new Error('the configuration was accepted');
}

describe('a valid configuration', () => {
  it('keeps what it says and fills in the rest', () => {
    const config = parseConfig(EXAMPLE, 'accel.yaml');
    expect(config.service).toMatchObject({ listen: '0.0.0.0:8686', store: '/var/lib/accel/queue.db', concurrency: 1 });
    expect(config.service.hooks.github).toEqual({ secretFile: '/run/secrets/github' });
    expect(config.service.notifications[0]).toMatchObject({ form: 'webhook', expression: '_accelerated$' });
    expect(config.rules[0]).toMatchObject({ mode: 'full', verify: 'off', tags: { exclude: ['pr-*', '*-debug'] } });
    expect(config.agent.cache).toEqual({
      path: '/var/lib/accel/cache',
      capacity: '4Gi',
      memory: '256Mi',
      ttl: '24h',
      keepFree: 0.1,
    });
  });

  it.each([
    ['', 'an empty file'],
    ['# nothing\n', 'a comment'],
    ['{}', 'an empty map'],
  ])('%j: %s is all defaults', (text) => {
    expect(parseConfig(text, 'accel.yaml')).toMatchObject({ registries: [], rules: [], drain: '30s' });
  });
});

describe('a problem has its line, its column and what is right', () => {
  it.each<[text: string, line: number, column: number, message: string]>([
    ['registris: []\n', 1, 1, 'unknown key "registris"; did you mean "registries"?'],
    ['service:\n  lisen: a\n', 2, 3, 'unknown key "lisen" in "service"; did you mean "listen"?'],
    ['service:\n  hooks:\n    harbour: {}\n', 3, 5, 'unknown key "harbour" in "service.hooks"; did you mean "harbor"?'],
    [
      'rules:\n  - {repositories: [a], mode: ful}\n',
      2,
      31,
      '"rules[0].mode" must be one of full, index-only, found "ful"; did you mean "full"?',
    ],
    ['rules:\n  - mode: full\n', 2, 5, '"rules[0].repositories" is required'],
    ['rules:\n  - repositories: [a, 7]\n', 2, 23, '"rules[0].repositories[1]" must be a text, found a whole number'],
    ['service:\n  concurrency: 0\n', 2, 16, '"service.concurrency" must be at least 1, found 0'],
    ['service:\n  concurrency: 1.5\n', 2, 16, '"service.concurrency" must be a whole number, found a number'],
    ['service:\n  listen: 127.0.0.1\n', 2, 11, '"service.listen" is not an address, HOST:PORT, found "127.0.0.1"'],
    ['service:\n  listen: 127.0.0.1:65536\n', 2, 11, '"service.listen" has a port above 65535'],
    ['drain: soon\n', 1, 8, '"drain" is not a duration such as 30s, 5m or 24h, found "soon"'],
    [
      'registries: [{host: "https://a"}]\n',
      1,
      21,
      '"registries[0].host" is not a registry host, HOST[:PORT], found "https://a"',
    ],
    ['- a\n', 1, 1, 'the file must be a section of keys, found a list'],
    ['service: 5\n', 1, 10, '"service" must be a section of keys, found a whole number'],
    ['agent:\n', 1, 7, '"agent" must be a section of keys, found nothing; {} is all defaults'],
    ['registries: {host: a}\n', 1, 13, '"registries" must be a list, found a section of keys'],
    ['agent: {keepSockets: maybe}\n', 1, 22, '"agent.keepSockets" must be true or false, found a text'],
    ['agent: {cache: {capacity: []}}\n', 1, 27, '"agent.cache.capacity" must be a number or a text, found a list'],
    [
      'agent: {cache: {capacity: much}}\n',
      1,
      27,
      '"agent.cache.capacity" is not a size such as 4Gi or 4294967296, found "much"',
    ],
    ['agent: {cache: {capacity: -1}}\n', 1, 27, '"agent.cache.capacity" must be at least 0, found -1'],
    [
      'service: {reconcile: {interval: 5}}\n',
      1,
      33,
      '"service.reconcile.interval" must be 0 or a text, found a whole number',
    ],
    ['advertise: 10.0.0.1:65002\n', 1, 1, 'unknown key "advertise"; it is a key of "agent"'],
    [
      'service: {notifications: [{url: "ftp://user:secret@a"}]}\n',
      1,
      33,
      '"service.notifications[0].url" is not an http or https URL',
    ],
    ['service: {tokens: my-secret}\n', 1, 19, '"service.tokens" must be a list, found a text'],
    ['drain: 1s\ndrain: 2s\n', 2, 1, 'the same key is there a second time'],
    ['drain: 1s\n---\ndrain: 2s\n', 2, 1, 'the file has several YAML documents, expected one'],
    ['drain: !!binary aGVsbG8=\n', 1, 8, 'Unresolved tag: tag:yaml.org,2002:binary'],
    [
      'service: { ? [a] : b }\n',
      1,
      1,
      'unknown key "[ a ]" in "service"; known here: listen, store, concurrency, decisions, timeout, memory, workDirectory, history, hooks, notifications, tokens, agents, reconcile, watch, prune',
    ],
    [
      'service: { __proto__: { listen: x } }\n',
      1,
      12,
      'unknown key "__proto__" in "service"; known here: listen, store, concurrency, decisions, timeout, memory, workDirectory, history, hooks, notifications, tokens, agents, reconcile, watch, prune',
    ],
  ])('%j', (text, line, column, message) => {
    const error = failureOf(text);
    expect(error.code).toBe('usage');
    expect(error.message).toBe(`invalid configuration: ${message}`);
    expect(error.where).toEqual({ file: 'accel.yaml', line, column });
  });

  it('lists several in the order of the file', () => {
    const error = failureOf('drain: soon\nservice: { concurrency: 0 }\nagents: {}\n');
    expect(error.message.split('\n')).toEqual([
      'invalid configuration, 3 problems:',
      'line 1, column 8: "drain" is not a duration such as 30s, 5m or 24h, found "soon"',
      'line 2, column 25: "service.concurrency" must be at least 1, found 0',
      'line 3, column 1: unknown key "agents"; did you mean "agent"?',
    ]);
  });

  it('lists at most twenty', () => {
    const keys = Array.from({ length: 50 }, (_, index) => `key${index}: 1\n`).join('');
    const lines = failureOf(keys).message.split('\n');
    expect(lines).toHaveLength(22);
    expect(lines.at(-1)).toBe('and 30 more');
  });

  it('aliases that multiply are refused', () => {
    const levels = Array.from(
      { length: 12 },
      (_, level) => `k${level}: &k${level} [${`*k${level - 1},`.repeat(level === 0 ? 0 : 9)}]\n`,
    );
    expect(failureOf(levels.join('')).code).toBe('usage');
  });

  it('any text is a configuration or an error, never a crash', () => {
    const words = fc.constantFrom(
      'service',
      'rules',
      ': ',
      '\n',
      '  ',
      '- ',
      '[',
      ']',
      '{',
      '}',
      '&a ',
      '*a',
      '"',
      '1',
      '!!x',
      '?',
      '|',
    );
    fc.assert(
      fc.property(fc.array(words, { maxLength: 30 }), (parts) => {
        try {
          parseConfig(parts.join(''), 'accel.yaml');
        } catch (error) {
          expect(error).toBeInstanceOf(AccelError);
          expect((error as AccelError).code).toBe('usage');
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe('loadConfig', () => {
  it('reads a file, and refuses one that is too large or missing', () =>
    withTempDirectory(async (folder) => {
      const path = join(folder, 'accel.yaml');
      await writeFile(path, EXAMPLE);
      expect((await loadConfig(path)).rules).toHaveLength(1);
      await writeFile(path, `#${'x'.repeat(1024 * 1024)}`);
      await expect(loadConfig(path)).rejects.toMatchObject({ code: 'usage', where: { file: path } });
      const none = join(folder, 'none');
      await expect(loadConfig(none)).rejects.toMatchObject({
        code: 'usage',
        where: { file: none },
        expected: 'a YAML file',
        found: 'no such file',
        hint: expect.stringContaining('docs/agent.md'),
      });
      await expect(loadConfig(folder)).rejects.toMatchObject({
        code: 'usage',
        where: { file: folder },
        found: 'a folder',
        hint: expect.stringContaining('accel.yaml'),
      });
    }));
});

it.each([
  ['registris', 'registries'],
  ['hsot', 'host'],
  ['Listen', 'listen'],
  ['concurency', 'concurrency'],
  ['zzz', undefined],
])('nearest(%j)', (word, expected) => {
  expect(nearest(word, ['registries', 'host', 'listen', 'concurrency'])).toBe(expected);
});

it.each([
  ['250ms', 250],
  ['1.5s', 1500],
  ['5m', 300_000],
  ['24h', 86_400_000],
  ['2d', 172_800_000],
])('milliseconds(%j)', (text, expected) => expect(milliseconds(text)).toBe(expected));

it.each([
  ['127.0.0.1:80', { host: '127.0.0.1', port: 80 }],
  ['[::1]:65001', { host: '::1', port: 65_001 }],
  ['localhost:0', { host: 'localhost', port: 0 }],
])('hostAndPort(%j)', (text, expected) => expect(hostAndPort(text)).toEqual(expected));
