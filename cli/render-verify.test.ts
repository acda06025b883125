import { describe, expect, it } from 'vitest';
import type { Difference, VerifyReport } from '../verify/verify-image.ts';
import type { VerifyResult } from '../verify/verify-reference.ts';
import { renderVerify, verifyDocument } from './render-verify.ts';
import { sampleDigest } from './testing/sample.ts';

const difference = (path: string, more: Partial<Difference> = {}): Difference => ({
  scope: 'tree',
  path,
  field: 'mode',
  expected: '0644',
  found: '0600',
  ...more,
});

function result(differences: readonly Difference[], more: Partial<VerifyReport> = {}): VerifyResult {
  const image: VerifyReport = {
    platform: 'linux/amd64',
    digest: sampleDigest('a'),
    sourceDigest: sampleDigest('b'),
    quick: false,
    notCompared: [],
    differences,
    differenceCount: differences.length,
    warnings: [],
    compared: { paths: 12, files: 7, bytes: 1_500_000, layers: 2 },
    traffic: { requests: 30, bytes: 900_000 },
    ...more,
  };
  const { differenceCount } = image;
  return { digest: image.digest, identical: differenceCount === 0, differenceCount, differences: [], images: [image] };
}

describe('renderVerify', () => {
  it('a quick one says what it did not look at', () => {
    const text = renderVerify(result([], { quick: true, notCompared: ['the content of files', 'something else'] }));
    expect(text).toContain('\n  not looked at the content of files, something else\n');
  });

  it('identical', () => {
    expect(renderVerify(result([]))).toBe(
      `✔ linux/amd64 aaaaaaaaaaaa: identical to bbbbbbbbbbbb
  2 layers · 12 paths · 1.5 MB in 7 files · device read with 30 requests, 900 kB
`,
    );
  });

  it('quick, with a note, without Unicode', () => {
    const text = renderVerify(result([], { quick: true, warnings: ['layer 1: a\u001b: b'] }), { unicode: false });
    expect(text).toBe(
      `ok linux/amd64 aaaaaaaaaaaa: identical to bbbbbbbbbbbb, content not compared
  2 layers · 12 paths · device read with 30 requests, 900 kB
  note layer 1: a\\x1b: b
`,
    );
  });

  it('differences: names are bytes, values are shortened', () => {
    const text = renderVerify(
      result([difference('/caf\xc3\xa9\x1b[2J', { field: 'xattr user.a', expected: '0x'.padEnd(300, '0') })]),
    );
    expect(text.split('\n').slice(0, 1)).toEqual(['✘ linux/amd64 aaaaaaaaaaaa: 1 difference from bbbbbbbbbbbb']);
    expect(text).toContain('  /café\\x1b[2J xattr user.a\n');
    expect(text).toContain('… (300 characters)\n    accelerated 0600\n');
  });

  it.each([
    ['20', 20, undefined],
    ['21', 21, '  … and 1 more difference; all of them with --json'],
    ['120', 120, '  … and 100 more differences; all of them with --json'],
  ])('shows 20 of %s', (_, count, rest) => {
    const lines = renderVerify(result(Array.from({ length: count }, (_unused, i) => difference(`/${i}`)))).split('\n');
    expect(lines.filter((line) => / mode$/.test(line))).toHaveLength(20);
    expect(lines.find((line) => line.includes('more difference'))).toBe(rest);
  });

  it('shows differences of the index itself', () => {
    const index = { ...result([]), differences: [difference('index', { scope: 'image', field: 'platforms' })] };
    expect(renderVerify(index).split('\n').slice(0, 2)).toEqual(['index', '  index platforms']);
  });
});

describe('verifyDocument', () => {
  it('holds every difference in readable text', () => {
    const document = JSON.parse(
      verifyDocument({
        reference: 'host/app:1',
        ...result(Array.from({ length: 50 }, () => difference('/caf\xe9'))),
      }),
    );
    expect(document).toMatchObject({
      formatVersion: 1,
      reference: 'host/app:1',
      identical: false,
      differenceCount: 50,
    });
    expect(document.images[0].differences).toHaveLength(50);
    expect(document.images[0].differences[0]).toEqual(difference('/caf\\xe9'));
  });
});
