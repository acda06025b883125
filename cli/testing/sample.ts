/** A made-up conversion for the tests of the display: its events and its result. */
import type { ConvertEvent, LayerId } from '../../converter/events.ts';
import type { ConvertRequest, ConvertResult, LayerResult, ManifestResult } from '../../converter/options.ts';
import type { Output } from '../terminal.ts';

/** A digest that shows what it belongs to. */
export function sampleDigest(seed: string): string {
  return `sha256:${seed.repeat(64).slice(0, 64)}`;
}

/** A layer of `count` on linux/amd64. */
export function sampleLayer(index: number, count: number, size: number, platform = 'linux/amd64'): LayerId {
  return { platform, index, count, digest: sampleDigest(String(index + 1)), size };
}

/** The events of one layer of 100 MB that becomes a full and an index-only layer. */
export function sampleEvents(): ConvertEvent[] {
  const layer = sampleLayer(0, 2, 100e6);
  const full = { kind: 'full', digest: sampleDigest('a'), size: 130e6 } as const;
  const index = { kind: 'index-only', digest: sampleDigest('b'), size: 1.2e6 } as const;
  return [
    { type: 'source', reference: 'host/app:1\x1b[2J', digest: sampleDigest('5'), platforms: ['linux/amd64'] },
    { type: 'manifest-skipped', digest: sampleDigest('c'), platform: 'unknown/unknown', reason: 'an attestation' },
    { type: 'layer-start', layer },
    { type: 'layer-progress', layer, bytesRead: 50e6 },
    { type: 'warning', message: 'left out', layer, path: 'caf\xc3\xa9\x07' },
    { type: 'layer-converted', layer, outputs: [full, index], entries: 42 },
    { type: 'layer-pushed', layer, output: full, existed: false },
    { type: 'layer-pushed', layer, output: index, existed: true },
    { type: 'layer-done', layer, times: { convert: 1.5, push: 0.5 } },
    { type: 'restart', platform: 'linux/amd64', virtualSize: 2 ** 37, reason: 'the content needs it' },
    { type: 'manifest-pushed', digest: sampleDigest('d'), platform: 'linux/amd64', kind: 'full' },
    { type: 'tagged', tag: '1_accelerated', digest: sampleDigest('e') },
    { type: 'up-to-date', tag: '1_old', digest: sampleDigest('f') },
  ];
}

/** The result of a request: two layers, of which the second does not qualify for index-only. */
export function sampleResult(request: Pick<ConvertRequest, 'repository' | 'outputs'>, upToDate = false): ConvertResult {
  const layer = (index: number, kind: LayerResult['kind'], size: number): LayerResult => ({
    kind,
    sourceDigest: sampleDigest(String(index + 1)),
    sourceSize: 100e6,
    digest: sampleDigest(kind === 'full' ? 'a' : 'b'),
    size,
  });
  const manifest = (kind: string): ManifestResult => {
    const second = layer(1, 'full', 120e6);
    const layers = kind === 'full' ? [layer(0, 'full', 130e6), second] : [layer(0, 'index-only', 1.2e6), second];
    return {
      platform: 'linux/amd64',
      sourceDigest: sampleDigest('6'),
      digest: sampleDigest(kind === 'full' ? '7' : '8'),
      size: layers.reduce((sum, { size }) => sum + size, 0),
      sourceSize: 200e6,
      virtualSize: 2 ** 36,
      layers,
      manifest: { schemaVersion: 2, kind },
    };
  };
  return {
    repository: request.repository,
    source: { digest: sampleDigest('5'), mediaType: 'application/vnd.oci.image.index.v1+json', size: 200e6 },
    tags: request.outputs.map(({ tag, kind }) => {
      const made = manifest(kind);
      return {
        tag,
        kind,
        digest: sampleDigest('9'),
        mediaType: 'application/vnd.oci.image.index.v1+json',
        size: made.size,
        ratio: made.size / made.sourceSize,
        manifests: [made],
        upToDate,
      };
    }),
    skipped: [{ digest: sampleDigest('c'), platform: 'unknown/unknown', reason: 'an attestation' }],
    warnings: ['left out'],
    warningCount: 1,
    seconds: { total: 2, convert: 1.5, push: 0.5 },
  };
}

/** An output that keeps what is written to it. */
export function captured(terminal: Omit<Output, 'write'> = {}): Output & { text: string } {
  const output = {
    ...terminal,
    text: '',
    write(part: string) {
      output.text += part;
      return true;
    },
  };
  return output;
}
