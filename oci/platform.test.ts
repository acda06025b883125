import { describe, expect, test } from 'vitest';
import {
  choosePlatform,
  choosePlatforms,
  formatPlatform,
  imagePlatform,
  normalizePlatform,
  type Platform,
  parsePlatform,
} from './platform.ts';

describe('platforms', () => {
  test.each([
    ['linux/amd64', 'linux/amd64'],
    ['linux/x86_64', 'linux/amd64'],
    ['linux/amd64/v1', 'linux/amd64/v1'],
    ['linux/amd64/v3', 'linux/amd64/v3'],
    ['linux/aarch64', 'linux/arm64'],
    ['linux/arm64/v8', 'linux/arm64/v8'],
    ['linux/arm64/8', 'linux/arm64/v8'],
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
    ['linux/amd64', ['linux/amd64'], ['linux/amd64']],
    ['linux/amd64', ['linux/x86_64'], ['linux/x86_64']],
    ['linux/amd64', ['linux/amd64/v3', 'linux/amd64', 'linux/amd64/v2'], ['linux/amd64']],
    ['linux/amd64', ['linux/amd64/v3', 'linux/amd64/v1'], ['linux/amd64/v1']],
    ['linux/amd64', ['linux/amd64/v3', 'linux/amd64/v2'], ['linux/amd64/v3', 'linux/amd64/v2']],
    ['linux/amd64/v1', ['linux/amd64/v3', 'linux/amd64'], ['linux/amd64']],
    ['linux/amd64/v1', ['linux/amd64/v3'], []],
    ['linux/amd64/v3', ['linux/amd64', 'linux/amd64/v3'], ['linux/amd64/v3']],
    ['linux/amd64/v3', ['linux/amd64'], []],
    ['linux/arm64', ['linux/arm64/v8'], ['linux/arm64/v8']],
    ['linux/arm64/v8', ['linux/arm64'], ['linux/arm64']],
    ['linux/arm64', ['linux/arm64/v9', 'linux/arm64'], ['linux/arm64']],
    ['linux/arm/v7', ['linux/arm'], ['linux/arm']],
    ['linux/arm', ['linux/arm/v6', 'linux/arm/v7'], ['linux/arm/v7']],
    ['linux/arm', ['linux/arm/v5', 'linux/arm/v6'], ['linux/arm/v5', 'linux/arm/v6']],
    ['linux/arm/v6', ['linux/arm/v7', 'linux/arm/v6'], ['linux/arm/v6']],
    ['linux/arm/v7', ['linux/arm/v6'], []],
    ['linux/amd64', ['windows/amd64', 'linux/arm64'], []],
  ])('%s of %j takes %j', (wanted, there, expected) => {
    const found = choosePlatform(parsePlatform(wanted), there, platformOf);
    expect(found).toEqual(expected);
  });

  test('several wanted platforms keep the order of the candidates; none takes all', () => {
    const there = ['linux/arm64', 'linux/amd64', 'linux/386'];
    const wanted = ['linux/386', 'linux/arm64'].map(parsePlatform);
    expect(choosePlatforms(wanted, there, platformOf)).toEqual(['linux/arm64', 'linux/386']);
    expect(choosePlatforms([], there, platformOf)).toEqual(there);
  });

  test('a candidate without a platform is not asked for by any', () => {
    expect(choosePlatform(parsePlatform('linux/amd64'), [undefined, {}], (one) => one)).toEqual([]);
  });

  const nothing = { os: null, architecture: '' };
  test.each<[Platform | undefined, object, string]>([
    [undefined, { os: 'linux', architecture: 'arm64', variant: 'v8' }, 'linux/arm64/v8'],
    [undefined, { os: 'Linux', architecture: 'amd64' }, 'linux/amd64'],
    [undefined, { os: '', architecture: '', variant: '' }, 'linux/unknown'],
    [undefined, nothing, 'linux/unknown'],
    [undefined, {}, 'linux/unknown'],
    [undefined, { os: 'windows', architecture: 'amd64' }, 'windows/amd64'],
    [{ os: 'linux', architecture: 'arm', variant: 'v6' }, { os: 'linux', architecture: 'arm' }, 'linux/arm/v6'],
    [{ os: 'linux', architecture: 'arm64' }, { os: 'linux', architecture: 'amd64', variant: 'v3' }, 'linux/arm64'],
    [{ os: 'linux', architecture: 'amd64' }, nothing, 'linux/amd64'],
    [{ os: 'linux', architecture: 'amd64' }, { os: 'windows', architecture: 'amd64' }, 'linux/amd64'],
    [{ architecture: 'arm64' }, { os: 'linux', architecture: 'amd64' }, 'linux/arm64'],
    [{ os: 'linux' }, { os: 'linux', architecture: 'arm', variant: 'v7' }, 'linux/arm/v7'],
    [{ os: '', architecture: '' }, { os: 'linux', architecture: 's390x' }, 'linux/s390x'],
  ])('index %j over config %j: %s', (listed, config, expected) => {
    expect(formatPlatform(imagePlatform(listed, config))).toBe(expected);
  });
});

function platformOf(text: string): Platform {
  const [os = '', architecture = '', variant] = text.split('/');
  return { os, architecture, ...(variant === undefined ? {} : { variant }) };
}
