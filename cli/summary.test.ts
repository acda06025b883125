import { describe, expect, it } from 'vitest';
import type { TagResult } from '../converter/options.ts';
import { renderQuiet, renderSummary } from './summary.ts';
import { sampleDigest, sampleResult } from './testing/sample.ts';

const REQUEST = {
  repository: 'host/app',
  outputs: [
    { tag: '1_accelerated', kind: 'full' },
    { tag: '1_containerd_accelerated', kind: 'containerd' },
  ],
} as const;

describe('renderSummary', () => {
  it('shows what a node prefetches, under the tag', () => {
    const result = sampleResult(REQUEST);
    const prefetch = { form: 'trace', files: 2, bytes: 3e6, entries: 5, digest: sampleDigest('f'), size: 250 } as const;
    const tags = result.tags.map((tag, i) =>
      i > 0 ? tag : { ...tag, manifests: tag.manifests.map((manifest) => ({ ...manifest, prefetch })) },
    );
    expect(renderSummary({ ...result, tags })).toContain(
      `  ${sampleDigest('9')}\n  prefetches 2 files, 3.0 MB, by a trace\n\nhost/app:1_containerd_accelerated\n`,
    );
  });

  it('80 columns', () => {
    expect(renderSummary(sampleResult(REQUEST), { columns: 80 })).toBe(
      `✔ converted and pushed in 2.0 s (all layers: convert 1.5 s, push 0.5 s)

host/app:1_accelerated
  full · 250 MB · 125 % of the base · containerd and Docker
  ${sampleDigest('9')}

host/app:1_containerd_accelerated
  containerd · 121 MB · 61 % of the base · keep the base image
  ${sampleDigest('9')}

linux/amd64 2 layers on a device of 64 GiB
     layer         source    full     containerd
  1  111111111111  100 MB  130 MB         1.2 MB
  2  222222222222  100 MB  120 MB  120 MB (full)
     total         200 MB  250 MB         121 MB

skipped unknown/unknown cccccccccccc: an attestation
1 warning, see above
`,
    );
  });

  it('40 columns: no line but a name is wider', () => {
    const wide = renderSummary(sampleResult(REQUEST), { columns: 40 })
      .split('\n')
      .filter((line) => line.length > 40 && !line.startsWith('skipped'));
    expect(wide).toEqual([]);
  });

  it('says when everything was up to date, and when nothing was pushed', () => {
    expect(renderSummary(sampleResult(REQUEST, true))).toContain('already up to date');
    expect(renderSummary(sampleResult(REQUEST), { dry: true })).toContain('nothing pushed');
  });

  it('draws one column when both tags name one image', () => {
    const result = sampleResult({ ...REQUEST, outputs: [REQUEST.outputs[0], { ...REQUEST.outputs[0], tag: 'b' }] });
    expect(renderSummary(result)).toContain('layer         source    full\n');
  });

  it('says when the containerd tag is the full image after all, and when a size is not known', () => {
    const result = sampleResult(REQUEST);
    const [full, containerd] = result.tags as [TagResult, TagResult];
    const manifests = full.manifests.map((manifest) => ({ ...manifest, virtualSize: undefined }));
    const text = renderSummary({
      ...result,
      tags: [
        { ...full, manifests },
        { ...containerd, manifests },
      ],
    });
    expect(text).toContain('no layer could be index-only, so this is the full image');
    expect(text).toContain('linux/amd64 2 layers\n');
  });

  it('escapes what an image or registry says', () => {
    const result = sampleResult(REQUEST);
    const hostile = { ...result, skipped: [{ digest: 'sha256:x', platform: 'a\x1b[2J', reason: 'b\nc' }] };
    expect(renderSummary(hostile)).toContain('skipped a\\x1b[2J x: b\\x0ac');
  });
});

it('quiet: a reference with its digest for each tag', () => {
  expect(renderQuiet(sampleResult(REQUEST))).toBe(
    `host/app:1_accelerated@${sampleDigest('9')}\nhost/app:1_containerd_accelerated@${sampleDigest('9')}\n`,
  );
});
