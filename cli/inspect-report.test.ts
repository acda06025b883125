import { describe, expect, it } from 'vitest';
import type { AcceleratedFacts, InspectReport, OrdinaryFacts } from '../inspect/inspect-reference.ts';
import type { Named } from '../reader/open-by-name.ts';
import { inspectDocument, renderInspect } from './inspect-report.ts';
import { sampleDigest } from './testing/sample.ts';

const ACCELERATED: AcceleratedFacts = {
  accelerated: true,
  platform: 'linux/amd64',
  digest: sampleDigest('a'),
  size: 3_000_000,
  mode: 'mixed',
  virtualSize: 64 * 2 ** 30,
  base: { digest: sampleDigest('b'), present: true, size: 100_000_000 },
  ratio: 0.03,
  accelVersion: '0.1.0',
  options: 'algorithm=lz4',
  layers: [
    {
      kind: 'index-only',
      digest: sampleDigest('1'),
      mediaType: 'x',
      size: 480_000,
      segments: 5318,
      algorithm: 'lz4',
      blockSize: 4096,
      source: { digest: sampleDigest('2'), present: true },
      accessPoints: 195,
    },
    {
      kind: 'full',
      digest: sampleDigest('3'),
      mediaType: 'x',
      size: 2_520_000,
      segments: 7,
      algorithm: 'zstd',
      blockSize: 65_536,
    },
  ],
};

const report = (
  image: InspectReport['images'][number],
  more: Partial<Named<InspectReport>> = {},
): Named<InspectReport> => ({
  reference: 'x',
  digest: sampleDigest('a'),
  mediaType: 'application/vnd.oci.image.manifest.v1+json',
  accelerated: image.accelerated,
  images: [image],
  others: [],
  ...more,
});

const lines = (...args: Parameters<typeof renderInspect>): string[] => renderInspect(...args).split('\n');

describe('renderInspect', () => {
  it('an accelerated image', () => {
    const text = renderInspect(
      report(ACCELERATED, {
        reference: 'host/app:1_containerd_accelerated',
        sourceDigest: sampleDigest('b'),
        baseTag: { tag: '1', digest: sampleDigest('b'), matches: true },
      }),
    );
    expect(text).toBe(`host/app:1_containerd_accelerated
  digest     ${sampleDigest('a')}
  type       application/vnd.oci.image.manifest.v1+json
  made from  ${sampleDigest('b')}
  base tag   1 still names what was converted

linux/amd64
  digest   ${sampleDigest('a')}
  mode     index-only and full layers (containerd, needs its base)
  size     3.0 MB, 3.0 % of the base (100 MB)
  device   64 GiB
  base     ${sampleDigest('b')}, present
  accel    0.1.0
  options  algorithm=lz4
     layer         kind          size  segments  blocks    over          points
  1  111111111111  index-only  480 kB      5318  lz4 4K    222222222222     195
  2  333333333333  full        2.5 MB         7  zstd 64K
`);
  });

  it.each([
    [
      'moved',
      { tag: '1', digest: sampleDigest('c'), matches: false },
      `1 names ${sampleDigest('c')} by now: convert again`,
    ],
    ['gone', { tag: '1', matches: false }, '1 does not exist'],
  ])('a base tag that %s', (_, baseTag, text) => {
    expect(lines(report(ACCELERATED, { baseTag }))[3]).toBe(`  base tag  ${text}`);
  });

  it.each([
    ['a full image does not need', 'full', true, 'gone; not needed'],
    ['an index-only image needs', 'index-only', true, 'gone'],
    ['took a layer along', 'index-only', false, ': 1 layer of it missing, this image does not run'],
  ] as const)('a base that %s', (_, mode, present, text) => {
    const [first, second] = ACCELERATED.layers;
    const layers = [{ ...first!, source: { digest: sampleDigest('2'), present } }, second!];
    const image = { ...ACCELERATED, mode, layers, base: { digest: sampleDigest('b'), present: false } };
    const base = lines(report(image)).find((line) => line.startsWith('  base '));
    expect(base?.endsWith(text)).toBe(true);
  });

  it('layers that did not open, and text that would steer a terminal', () => {
    const { virtualSize: _, ratio: __, accelVersion: ___, options: ____, ...rest } = ACCELERATED;
    const layers = [{ kind: 'full' as const, digest: sampleDigest('1'), mediaType: 'x', size: 1 }];
    const image = { ...rest, platform: 'linux/\u001b[2J', layers, problem: 'a \u001b[31m problem' };
    const text = renderInspect(report(image));
    expect(text).not.toContain('\u001b');
    expect(text).toContain('problem  a \\x1b[31m problem');
    expect(text).toMatch(/\n {2}1 {2}1{12} {2}full {3}1 B +- {2}-\n$/);
  });

  it('an ordinary image', () => {
    const yes = { possible: 'yes', reason: '' } as const;
    const layer = { digest: sampleDigest('1'), mediaType: 'x', size: 10_000_000, compression: 'gzip', full: yes };
    const image: OrdinaryFacts = {
      accelerated: false,
      platform: 'linux/amd64',
      digest: sampleDigest('a'),
      size: 20_000_000,
      layers: [
        { ...layer, indexOnly: { possible: 'unknown', reason: 'if it is one gzip member' } },
        { ...layer, compression: 'zstd', indexOnly: { possible: 'no', reason: 'compressed with zstd' } },
      ],
    };
    const others = [
      {
        digest: sampleDigest('c'),
        mediaType: 'x',
        platform: 'unknown/unknown',
        reason: 'an attestation',
        missing: false,
      },
    ];
    expect(lines(report(image, { others })).slice(4)).toEqual([
      'linux/amd64 an ordinary image, 20.0 MB',
      '     layer            size  content  full  index-only',
      '  1  111111111111  10.0 MB  gzip     yes   if it is one gzip member',
      '  2  111111111111  10.0 MB  zstd     yes   no: compressed with zstd',
      '',
      'left alone, an attestation: unknown/unknown cccccccccccc',
      '',
    ]);
  });
});

it('inspectDocument is the report with the version of its form', () => {
  const whole = report(ACCELERATED, { reference: 'host/app:1' });
  expect(JSON.parse(inspectDocument(whole))).toEqual({ formatVersion: 1, ...whole });
});
