import { describe, expect, it } from 'vitest';
import { sampleDigest, sampleResult } from '../cli/testing/sample.ts';
import { renderFailure, renderJobSummary } from './job-summary.ts';
import { convertedLayers, convertedTags, type Outcome } from './outcome.ts';
import { noticeOf, outputsOf } from './outputs.ts';
import { MAX_SUMMARY_BYTES } from './workflow-commands.ts';

const REPOSITORY = 'ghcr.io/octo-org/app';
const OUTPUTS = [
  { tag: '1.2_accelerated', kind: 'full' },
  { tag: '1.2_containerd_accelerated', kind: 'containerd' },
] as const;
const RESULT = sampleResult({ repository: REPOSITORY, outputs: OUTPUTS });
const START = { platform: 'linux/amd64', requests: 9, bytes: 2e6, whole: 300e6 };

function converted(more: Partial<Outcome> = {}): Outcome {
  const { digest } = RESULT.source;
  return {
    decision: { event: 'convert', repository: REPOSITORY, source: { tag: '1.2' }, digest, reason: 'an ordinary image' },
    repository: REPOSITORY,
    tags: convertedTags(RESULT).map((tag) => ({ ...tag, start: START })),
    layers: convertedLayers(RESULT),
    result: RESULT,
    ...more,
  };
}

describe('the summary', () => {
  it('of a conversion', () => {
    expect(renderJobSummary(converted())).toBe(`### accel: converted in 2.0 s

| tag | kind | size | of the base | at start | verified | digest |
| --- | --- | --: | --: | --- | --- | --- |
| <code>${REPOSITORY}:1.2_accelerated</code> | full | 250 MB | 125 % | 2.0 MB of 300 MB | no | <code>${sampleDigest('9')}</code> |
| <code>${REPOSITORY}:1.2_containerd_accelerated</code> | containerd | 121 MB | 61 % | 2.0 MB of 300 MB | no | <code>${sampleDigest('9')}</code> |

At start: what was fetched to attach the device (linux/amd64) and list its root directory.

Time: 2.0 s; all layers: convert 1.5 s, push 0.5 s.

Left out, an attestation: unknown/unknown <code>cccccccccccc</code>.

1 warning, see the log.

<details><summary>linux/amd64: 2 layers</summary>

|  | layer | source | full | containerd |
| --- | --- | --: | --: | --: |
| 1 | <code>111111111111</code> | 100 MB | 130 MB | 1.2 MB |
| 2 | <code>222222222222</code> | 100 MB | 120 MB | 120 MB (full) |
|  | all layers | 200 MB | 250 MB | 121 MB |

</details>

`);
  });

  it.each([
    [
      'differences',
      { digest: 'x', identical: false, differenceCount: 3, differences: [], images: [] },
      '**3 differences**',
    ],
    ['none possible', { impossible: 'gone | <b>' }, 'not possible: gone &#124; &#60;b&#62;'],
  ])('of a verification: %s', (_, verification, text) => {
    const tags = converted().tags.map((tag) => ({ ...tag, verification }));
    expect(renderJobSummary(converted({ tags }))).toContain(`| ${text} |`);
  });

  it('of a skip, where a reason cannot be more than text', () => {
    const reason = 'an artifact a|b\n<img src=x> [x](http://x) `';
    const decision = { event: 'skipped', code: 'not-an-image', reason, repository: REPOSITORY, tag: 'x' } as const;
    const text = renderJobSummary({ decision, repository: REPOSITORY, tags: [], layers: [] });
    expect(text.split('\n').filter(Boolean)).toHaveLength(2);
    expect(text.replaceAll(/<\/?code>/g, '')).not.toMatch(/[<>[\]|`]/);
  });

  it('of an image with more layers than fit leaves tables out', () => {
    const [table] = convertedLayers(RESULT);
    const rows = Array.from({ length: 255 }, () => table!.rows[0]!);
    const layers = Array.from({ length: 200 }, () => ({ ...table!, rows }));
    const text = renderJobSummary(converted({ layers }));
    expect(Buffer.byteLength(text)).toBeLessThan(MAX_SUMMARY_BYTES);
    expect(text).toContain('the output `json` has them all');
  });

  it('of a failure keeps every line of the error a line of code', () => {
    expect(renderFailure('error [usage] x\n  found  # y')).toBe(
      '### accel: failed\n\n    error [usage] x\n      found  # y\n\n',
    );
  });
});

describe('outputs', () => {
  it('of a conversion', () => {
    const { json, ...outputs } = outputsOf(converted());
    expect(outputs).toEqual({
      event: 'convert',
      reason: 'an ordinary image',
      tags: `${REPOSITORY}:1.2_accelerated\n${REPOSITORY}:1.2_containerd_accelerated`,
      digest: sampleDigest('9'),
      'containerd-digest': sampleDigest('9'),
      size: '250000000',
      ratio: '1.2500',
    });
    expect(json).not.toContain('schemaVersion');
    expect(JSON.parse(json).tags[0]).toMatchObject({ kind: 'full', start: START, verified: null });
  });

  it('the same images have the same delivery, and other images another', () => {
    const again = converted({ tags: convertedTags(RESULT).map((tag) => ({ ...tag, upToDate: true })) });
    const verified = converted({
      tags: convertedTags(RESULT).map((tag) => ({ ...tag, verification: { impossible: 'gone' } })),
    });
    const { delivery, document } = noticeOf(converted());
    expect(document).toMatchObject({ formatVersion: 1, event: 'convert', repository: REPOSITORY });
    expect(JSON.stringify(document)).not.toContain('requests');
    expect([again, verified].map((outcome) => noticeOf(outcome).delivery)).toEqual([delivery, delivery]);
    expect(noticeOf(converted({ repository: 'ghcr.io/octo-org/other' })).delivery).not.toBe(delivery);
  });
});
