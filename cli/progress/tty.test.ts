import { PassThrough } from 'node:stream';
import { stripVTControlCharacters } from 'node:util';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PLAIN_STYLE } from '../terminal.ts';
import { sampleDigest, sampleEvents, sampleLayer } from '../testing/sample.ts';
import { LayerTracker } from './track.ts';
import { type Canvas, createTtyProgress, renderDone, renderLayers, renderTotals } from './tty.ts';

const CANVAS: Canvas = { columns: 80, rows: 20, style: PLAIN_STYLE, unicode: true };

/** Layers in progress, each read to `share` after ten seconds. */
function tracked(count: number, share: number, platforms = ['linux/amd64']): LayerTracker {
  const tracker = new LayerTracker();
  for (const platform of platforms) {
    for (let index = 0; index < count; index++) {
      const layer = sampleLayer(index, count, 100e6, platform);
      tracker.take({ type: 'layer-start', layer }, 0);
      tracker.take({ type: 'layer-progress', layer, bytesRead: 100e6 * share }, 10_000);
    }
  }
  return tracker;
}

describe('renderLayers', () => {
  it('80 columns: bar, share, rate, time left', () => {
    expect(renderLayers(tracked(1, 0.5), CANVAS)).toEqual([
      '  1/1 111111111111 █████████████░░░░░░░░░░░░░  50 %   5.0 MB/s  10 s left',
    ]);
  });

  it('40 columns: the rate goes', () => {
    expect(renderLayers(tracked(1, 0.5), { ...CANVAS, columns: 40 })).toEqual([
      '  1/1 1111111 ██████▌░░░░░░  50 %  10 s',
    ]);
  });

  it('draws with ASCII where nothing else shows', () => {
    const [line] = renderLayers(tracked(1, 0.5), { ...CANVAS, unicode: false });
    expect(line).toMatch(/\[#{12}\.{12}\]/);
  });

  it('names the platform when there are several', () => {
    expect(renderLayers(tracked(1, 0.5, ['linux/amd64', 'linux/arm64/v8']), CANVAS)[1]).toContain('linux/arm64/v8 1/1');
  });

  it('never has more lines than rows, nor wider ones than columns', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 40 }),
        fc.double({ min: 0, max: 1.2, noNaN: true }),
        fc.integer({ min: 1, max: 200 }),
        fc.integer({ min: -2, max: 50 }),
        fc.boolean(),
        (count, share, columns, rows, unicode) => {
          const tracker = tracked(count, share, ['linux/amd64', 'linux/riscv64']);
          const lines = renderLayers(tracker, { ...CANVAS, columns, rows, unicode });
          expect(lines.length).toBeLessThanOrEqual(Math.max(1, rows));
          if (columns >= 14) for (const line of lines) expect(line.length).toBeLessThan(columns);
        },
      ),
    );
  });
});

it('a finished layer says as much as fits', () => {
  const tracker = tracked(1, 1);
  const outputs = [
    { kind: 'full', digest: sampleDigest('a'), size: 130e6 },
    { kind: 'index-only', digest: sampleDigest('b'), size: 1.2e6 },
  ] as const;
  const [state] = tracker.active;
  Object.assign(state!, { outputs });
  expect(renderDone(state!, 2, false, CANVAS)).toBe(
    '✔ 1/1 111111111111 100 MB → 130 MB + 1.2 MB in 2.0 s, already present',
  );
  expect(renderDone(state!, 2, false, { ...CANVAS, columns: 40 })).toBe('✔ 1/1 1111111 100 MB → 130 MB + 1.2 MB');
  expect(renderDone(state!, 2, false, { ...CANVAS, columns: 20 })).toHaveLength(19);
});

describe('renderTotals', () => {
  /** Three layers of 100 MB of which one was converted before, one is read, and one is at its half. */
  function underWay(): LayerTracker {
    const tracker = new LayerTracker();
    const [reused, read, half] = [0, 1, 2].map((index) => sampleLayer(index, 3, 100e6));
    tracker.take({ type: 'source', reference: 'x', digest: 'y', platforms: ['linux/amd64'], bytes: 300e6 }, 0);
    tracker.take({ type: 'layer-reused', layer: reused!, outputs: [] }, 0);
    for (const layer of [read!, half!]) tracker.take({ type: 'layer-start', layer }, 0);
    tracker.take({ type: 'layer-done', layer: read!, times: { convert: 1, push: 1 } }, 0);
    tracker.take({ type: 'layer-progress', layer: half!, bytesRead: 50e6 }, 10_000);
    return tracker;
  }

  it('is aligned with the columns of the layers', () => {
    const [layer] = renderLayers(underWay(), CANVAS);
    const total = ` ⠸ total ${renderTotals(underWay(), 10, CANVAS)}`;
    expect([layer, total]).toEqual([
      '  3/3 333333333333 █████████████░░░░░░░░░░░░░  50 %   5.0 MB/s  10 s left',
      ' ⠸ total 2/3       █████████████████████▋░░░░  83 %  15.0 MB/s  4 s left',
    ]);
    expect(renderTotals(underWay(), 10, { ...CANVAS, columns: 40 })).toBe('2/3  ██████████▉░░  83 %   4 s');
  });

  it('says that all was read, and how long that is going on', () => {
    const tracker = underWay();
    tracker.take({ type: 'layer-progress', layer: sampleLayer(2, 3, 100e6), bytesRead: 100e6 }, 20_000);
    expect(renderTotals(tracker, 21, CANVAS)).toMatch(/^2\/3 +█+ finishing {2}21 s$/);
    expect(renderLayers(tracker, CANVAS)[0]).toMatch(/█ finishing$/);
  });

  it('does without what is not known', () => {
    expect(renderTotals(tracked(3, 0.5), 12, CANVAS)).toBe('0/3 layers, 150 MB read');
    expect(renderTotals(new LayerTracker(), 1, CANVAS)).toBe('reading the image, 1 s');
  });

  it('is never wider than the canvas', () => {
    for (let columns = 20; columns < 200; columns++)
      expect(` ⠸ total ${renderTotals(underWay(), 10, { ...CANVAS, columns })}`.length, `${columns}`).toBeLessThan(
        columns,
      );
  });
});

it('counts a layer that was converted before', () => {
  const tracker = new LayerTracker();
  tracker.take({ type: 'layer-reused', layer: sampleLayer(0, 3, 100e6), outputs: [] }, 0);
  expect(tracker.totals).toEqual({ done: 1, count: 3, bytesRead: 0, bytesReused: 100e6, bytes: undefined });
});

it('follows a conversion that begins again', () => {
  const tracker = tracked(2, 0.5);
  tracker.take({ type: 'restart', platform: 'linux/amd64', virtualSize: 2 ** 37, reason: 'full' }, 0);
  expect(tracker.active).toEqual([]);
  expect(tracker.totals).toMatchObject({ done: 0, count: 0, bytesRead: 0 });
});

it('keeps what is finished, takes away the rest, gives the cursor back', async () => {
  const stream = Object.assign(new PassThrough(), {
    isTTY: true,
    columns: 80,
    rows: 24,
    cursorTo: () => true,
    moveCursor: () => true,
    clearLine: () => true,
  });
  const progress = await createTtyProgress(stream, { LANG: 'C.UTF-8' }, PLAIN_STYLE);
  for (const event of sampleEvents()) progress.onEvent(event);
  progress.stop();
  const raw = String(stream.read());
  const text = stripVTControlCharacters(raw);
  expect(text).toContain('✔ 1/2 111111111111 100 MB → 130 MB + 1.2 MB in 2.0 s\n');
  expect(text).toContain('warning: linux/amd64 layer 1/2 111111111111: left out (café\\x07)\n');
  expect(text).not.toContain('tagged');
  expect(raw).not.toContain('\x1b[2J');
  expect(raw.endsWith('\x1b[?25h\n')).toBe(true);
});
