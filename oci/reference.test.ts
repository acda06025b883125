import { win32 } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { AccelError } from '../base/error.ts';
import { assertTag, DOCKER_HUB, formatReference, parseReference, parseRepository } from './reference.ts';

const hex = 'a'.repeat(64);
const digest = `sha256:${hex}`;

function codeOf(call: () => unknown): string {
  try {
    call();
  } catch (error) {
    return error instanceof AccelError ? error.code : String(error);
  }
  return 'nothing thrown';
}

describe('registry references', () => {
  test.each([
    ['debian', DOCKER_HUB, 'library/debian', undefined, undefined],
    ['debian:12', DOCKER_HUB, 'library/debian', '12', undefined],
    [`debian@${digest}`, DOCKER_HUB, 'library/debian', undefined, digest],
    ['me/app', DOCKER_HUB, 'me/app', undefined, undefined],
    ['docker.io/debian', DOCKER_HUB, 'library/debian', undefined, undefined],
    ['docker.io/me/app:v1', DOCKER_HUB, 'me/app', 'v1', undefined],
    ['index.docker.io/debian', DOCKER_HUB, 'library/debian', undefined, undefined],
    ['registry-1.docker.io/library/debian', DOCKER_HUB, 'library/debian', undefined, undefined],
    ['localhost/app', 'localhost', 'app', undefined, undefined],
    ['localhost:5000/app:v1', 'localhost:5000', 'app', 'v1', undefined],
    ['host:5000/a/b/c', 'host:5000', 'a/b/c', undefined, undefined],
    ['ghcr.io/a/b:1.2.3-rc.1_x', 'ghcr.io', 'a/b', '1.2.3-rc.1_x', undefined],
    ['GHCR.io/a/b', 'ghcr.io', 'a/b', undefined, undefined],
    ['[::1]:5000/app:v1', '[::1]:5000', 'app', 'v1', undefined],
    ['[2001:db8::1]/app', '[2001:db8::1]', 'app', undefined, undefined],
    ['127.0.0.1:65535/app', '127.0.0.1:65535', 'app', undefined, undefined],
    [`r.io/app:v1@${digest}`, 'r.io', 'app', 'v1', digest],
    [`r.io/app@sha512:${'b'.repeat(128)}`, 'r.io', 'app', undefined, `sha512:${'b'.repeat(128)}`],
    ['docker://r.io/app:v1', 'r.io', 'app', 'v1', undefined],
    ['r.io/a__b/c-d--e/f.g', 'r.io', 'a__b/c-d--e/f.g', undefined, undefined],
  ])('%s', (text, registry, repository, tag, expectedDigest) => {
    const reference = parseReference(text);
    expect(reference).toEqual({
      kind: 'registry',
      registry,
      repository,
      ...(tag ? { tag } : {}),
      ...(expectedDigest ? { digest: expectedDigest } : {}),
    });
    expect(parseReference(formatReference(reference))).toEqual(reference);
  });

  test.each([
    '',
    ':v1',
    'app:',
    'app@',
    'app@sha256:abc',
    `app@SHA256:${hex}`,
    `app@md5:${'a'.repeat(32)}`,
    `app@sha256:${hex.toUpperCase()}`,
    'APP',
    'r.io/APP',
    'r.io/',
    'r.io//app',
    'r.io/a/../b',
    'r.io/app/',
    'r.io/-app',
    'r.io/a___b',
    'r.io:0/app',
    'r.io:65536/app',
    'r.io:port/app',
    '-host.io/app',
    'user@host.io/app',
    '[::1/app',
    'app:-v1',
    'app:.v1',
    'app:v 1',
    'app\nx',
    'app\u001b[31m',
    'https://r.io/app',
    'docker-daemon:x',
    'containers-storage:app:1.2',
    'dir:/tmp/app',
    'ostree:app@/repo',
    'containers-storage:x',
    'oci-archive:',
    'docker-archive:',
    `r.io/${'a'.repeat(256)}`,
    'x'.repeat(5000),
  ])('%j is refused', (text) => {
    expect(codeOf(() => parseReference(text))).toBe('reference-invalid');
  });

  test('a name of 255 characters is accepted', () => {
    expect(parseReference(`r.io/${'a'.repeat(255)}`)).toMatchObject({ repository: 'a'.repeat(255) });
  });
});

test('a host that is one by its capitals alone keeps them', () => {
  const reference = parseReference('A/a');
  expect(reference).toEqual({ kind: 'registry', registry: 'A', repository: 'a' });
  expect(parseReference(formatReference(reference))).toEqual(reference);
});

test.each(['[:81]/a', '[B:1]:5000/a', '[::1::2]/a', '1.2.3.400/a', '1.2.3.400:5000/a'])(
  '%s: digits that are no address are refused here, not by the first request',
  (text) => {
    expect(codeOf(() => parseReference(text))).toBe('reference-invalid');
  },
);

describe('layout references', () => {
  test.each([
    ['oci:dir', 'dir', undefined, undefined],
    ['oci:dir:v1', 'dir', 'v1', undefined],
    ['oci:/a/b:v1', '/a/b', 'v1', undefined],
    ['oci:/a:b/c', '/a:b/c', undefined, undefined],
    ['oci:/a:b/c:v1', '/a:b/c', 'v1', undefined],
    ['oci:/a:b:v1', '/a:b', 'v1', undefined],
    ['oci:/a:b/', '/a:b/', undefined, undefined],
    ['oci:a b/ü:v1', 'a b/ü', 'v1', undefined],
    ['oci:dir@x:v1', 'dir@x', 'v1', undefined],
    [`oci:dir@${digest}`, 'dir', undefined, digest],
    [`oci:dir:v1@${digest}`, 'dir', 'v1', digest],
    ['oci:.', '.', undefined, undefined],
  ])('%s', (text, directory, tag, expectedDigest) => {
    const reference = parseReference(text);
    expect(reference).toEqual({
      kind: 'layout',
      directory,
      ...(tag ? { tag } : {}),
      ...(expectedDigest ? { digest: expectedDigest } : {}),
    });
    expect(parseReference(formatReference(reference))).toEqual(reference);
  });

  test.each(['oci:', 'oci:\0', 'oci:d@sha256:abc'])('%j is refused', (text) => {
    expect(codeOf(() => parseReference(text))).toBe('reference-invalid');
  });

  test('a directory that ends like a tag keeps its colon in print', () => {
    const text = formatReference({ kind: 'layout', directory: '/a:b' });
    expect(parseReference(text)).toEqual({ kind: 'layout', directory: '/a:b/' });
  });
});

describe('archive references', () => {
  test.each([
    ['oci-archive:x.tar', 'oci', 'x.tar', undefined, undefined],
    ['docker-archive:x.tar:v1', 'docker', 'x.tar', 'v1', undefined],
    ['oci-archive:/a:b/x.tar', 'oci', '/a:b/x.tar', undefined, undefined],
    ['oci-archive:/a@b/x.tar:v1', 'oci', '/a@b/x.tar', 'v1', undefined],
    [`docker-archive:x.tar@${digest}`, 'docker', 'x.tar', undefined, digest],
    [`oci-archive:x.tar:v1@${digest}`, 'oci', 'x.tar', 'v1', digest],
  ])('%s', (text, format, file, tag, expectedDigest) => {
    const reference = parseReference(text);
    expect(reference).toEqual({
      kind: 'archive',
      format,
      file,
      ...(tag ? { tag } : {}),
      ...(expectedDigest ? { digest: expectedDigest } : {}),
    });
    expect(formatReference(reference)).toBe(text);
  });

  test('as a repository it has no tag', () => {
    expect(parseRepository('oci-archive:x.tar')).toEqual({ kind: 'archive', format: 'oci', file: 'x.tar' });
    expect(codeOf(() => parseRepository('oci-archive:x.tar:v1'))).toBe('reference-invalid');
  });
});

describe('tags', () => {
  test.each([
    ['v'.repeat(128), 'nothing thrown'],
    ['v'.repeat(129), 'tag-too-long'],
    ['_x', 'nothing thrown'],
    ['.x', 'reference-invalid'],
    ['-x', 'reference-invalid'],
    ['', 'reference-invalid'],
    ['a/b', 'reference-invalid'],
    ['a:b', 'reference-invalid'],
    ['ä', 'reference-invalid'],
    ['a\n', 'reference-invalid'],
  ])('%j', (tag, code) => {
    expect(codeOf(() => assertTag(tag))).toBe(code);
  });

  test('a tag that is too long within a reference says so', () => {
    expect(codeOf(() => parseReference(`r.io/app:${'v'.repeat(129)}`))).toBe('tag-too-long');
    expect(codeOf(() => parseReference(`oci:dir:${'v'.repeat(129)}`))).toBe('tag-too-long');
  });
});

describe('a repository', () => {
  test.each(['r.io/app', 'debian', 'oci:dir', 'oci:/a:b/'])('%s is a repository', (text) => {
    expect(parseRepository(text).tag).toBeUndefined();
  });

  test.each([
    ['r.io/app:v1', 'repository: r.io/app inputTag: v1'],
    ['oci:dir:v1', 'repository: oci:dir inputTag: v1'],
    [`r.io/app@${digest}`, 'inputDigest'],
  ])('%s: the error names the right option', (text, hint) => {
    expect(() => parseRepository(text)).toThrow(
      expect.objectContaining({ code: 'reference-invalid', hint: expect.stringContaining(hint) }),
    );
  });
});

test('any text gives a reference that survives printing, or an AccelError', () => {
  const alphabet = fc.constantFrom(
    ...'ab1.:/@_-[]A %\u0000ä'.split(''),
    'oci:',
    'sha256:',
    hex,
    'docker.io',
    'localhost',
  );
  const text = fc.array(alphabet, { maxLength: 12 }).map((parts) => parts.join(''));
  fc.assert(
    fc.property(text, (input) => {
      let reference: ReturnType<typeof parseReference>;
      try {
        reference = parseReference(input);
      } catch (error) {
        return error instanceof AccelError;
      }
      const again = parseReference(formatReference(reference));
      if (reference.kind === 'registry') expect(again).toEqual(reference);
      else expect(again).toMatchObject({ kind: 'layout' });
      return true;
    }),
    { numRuns: 3000 },
  );
});

describe('folders with the letter of a drive, as Windows writes them', () => {
  const folder = win32.join('C:\\', 'images', 'app');

  test.each([
    [`oci:${folder}`, { kind: 'layout', directory: folder }],
    [`oci:${folder}:1.2`, { kind: 'layout', directory: folder, tag: '1.2' }],
    ['oci:C:/images/app:1.2', { kind: 'layout', directory: 'C:/images/app', tag: '1.2' }],
    [`oci-archive:${folder}.tar:1.2`, { kind: 'archive', format: 'oci', file: `${folder}.tar`, tag: '1.2' }],
  ])('%s', (text, expected) => {
    expect(parseReference(text)).toEqual(expected);
    expect(formatReference(parseReference(text))).toBe(text);
  });

  test('relative to the folder of a drive it reads as a tag, as a folder named C would be', () => {
    expect(parseReference('oci:C:app')).toEqual({ kind: 'layout', directory: 'C', tag: 'app' });
  });
});
