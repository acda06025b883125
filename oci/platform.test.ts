import { describe, expect, test } from 'vitest';
import { formatPlatform, matchPlatform, normalizePlatform, parsePlatform } from './platform.ts';

describe('platforms', () => {
  test.each([
    ['linux/amd64', 'linux/amd64'],
    ['linux/x86_64', 'linux/amd64'],
    ['linux/amd64/v1', 'linux/amd64'],
    ['linux/amd64/v3', 'linux/amd64/v3'],
    ['linux/aarch64', 'linux/arm64'],
    ['linux/arm64/v8', 'linux/arm64'],
    ['linux/arm64/8', 'linux/arm64'],
    ['linux/arm64/v9', 'linux/arm64/v9'],
    ['linux/arm/v7', 'linux/arm/v7'],
    ['linux/arm/6', 'linux/arm/v6'],
    ['linux/armhf', 'linux/arm/v7'],
    ['linux/armel', 'linux/arm/v6'],
    ['linux/i386', 'linux/386'],
    ['Linux/AMD64', 'linux/amd64'],
    ['linux/riscv64', 'linux/riscv64'],
  ])('%s is %s', (text, normal) => {
    expect(formatPlatform(parsePlatform(text))).toBe(normal);
  });

  test.each(['', 'linux', 'arm64', 'linux/', '/amd64', 'a/b/c/d', 'linux/am d64', 'linux/\u001b'])(
    '%j is a usage error',
    (text) => {
      expect(() => parsePlatform(text)).toThrow(expect.objectContaining({ code: 'usage' }));
    },
  );

  test('a platform without fields is unknown, and other fields stay', () => {
    expect(formatPlatform({})).toBe('unknown/unknown');
    expect(normalizePlatform({ os: 'windows', architecture: 'amd64', 'os.version': '10.0' })).toEqual({
      os: 'windows',
      architecture: 'amd64',
      'os.version': '10.0',
    });
  });

  test.each([
    ['linux/amd64', { os: 'linux', architecture: 'amd64' }, true],
    ['linux/amd64', { os: 'linux', architecture: 'x86_64' }, true],
    ['linux/arm64', { os: 'linux', architecture: 'arm64', variant: 'v8' }, true],
    ['linux/arm64/v8', { os: 'linux', architecture: 'arm64' }, true],
    ['linux/arm/v7', { os: 'linux', architecture: 'arm' }, true],
    ['linux/arm', { os: 'linux', architecture: 'arm', variant: 'v6' }, true],
    ['linux/arm/v7', { os: 'linux', architecture: 'arm', variant: 'v6' }, false],
    ['linux/amd64', { os: 'windows', architecture: 'amd64' }, false],
    ['linux/amd64', { os: 'linux', architecture: 'arm64' }, false],
    ['linux/amd64', {}, false],
    ['linux/amd64/v3', { os: 'linux', architecture: 'amd64' }, false],
  ])('%s asks for %j: %s', (wanted, actual, match) => {
    expect(matchPlatform(parsePlatform(wanted), actual)).toBe(match);
  });
});
