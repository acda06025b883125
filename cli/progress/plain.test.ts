import { expect, it } from 'vitest';
import { PLAIN_STYLE } from '../terminal.ts';
import { captured, sampleDigest, sampleEvents, sampleLayer } from '../testing/sample.ts';
import { createPlainProgress } from './plain.ts';

function shown(verbose: boolean): string {
  const output = captured();
  const progress = createPlainProgress(output, PLAIN_STYLE, verbose, () => 0);
  for (const event of sampleEvents()) progress.onEvent(event);
  progress.stop();
  return output.text;
}

it('reports the important events, one line each', () => {
  expect(shown(false)).toBe(`host/app:1\\x1b[2J 555555555555, linux/amd64
warning: linux/amd64 layer 1/2 111111111111: left out (café\\x07)
linux/amd64 layer 1/2 111111111111: 100 MB -> full 130 MB (130 %) + index-only 1.2 MB (1.2 %) in 2.0 s
restart linux/amd64 on a device of 128 GiB: the content needs it
tagged 1_accelerated ${sampleDigest('e')}
up to date 1_old ${sampleDigest('f')}
`);
});

it('reports every step with verbose', () => {
  const text = shown(true);
  for (const part of [
    'start, 100 MB',
    'read 50.0 MB of 100 MB',
    '42 entries',
    'pushed full',
    'already present',
    'manifest full',
  ]) {
    expect(text).toContain(part);
  }
});

it('verbose progress comes every few seconds, not with every chunk', () => {
  const output = captured();
  let time = 0;
  const progress = createPlainProgress(output, PLAIN_STYLE, true, () => time);
  const layer = sampleLayer(0, 1, 1e9);
  progress.onEvent({ type: 'layer-start', layer });
  for (let i = 0; i < 1000; i++, time += 100) progress.onEvent({ type: 'layer-progress', layer, bytesRead: i * 1e6 });
  expect(output.text.match(/: read /g)).toHaveLength(20);
});

it('says when a layer was already present', () => {
  const output = captured();
  const progress = createPlainProgress(output, PLAIN_STYLE, false);
  const layer = sampleLayer(0, 1, 0);
  const full = { kind: 'full', digest: sampleDigest('a'), size: 10 } as const;
  progress.onEvent({ type: 'layer-start', layer });
  progress.onEvent({ type: 'layer-converted', layer, outputs: [full], entries: 0 });
  progress.onEvent({ type: 'layer-pushed', layer, output: full, existed: true });
  progress.onEvent({ type: 'layer-done', layer, times: { convert: 0, push: 0 } });
  expect(output.text).toContain('0 B -> full 10 B, already present, in 0.0 s');
});
