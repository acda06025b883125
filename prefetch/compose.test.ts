import { describe, expect, it } from 'vitest';
import type { LayerSegment } from '../formats/lsmt/merge.ts';
import { MAX_LIST_SIZE, MAX_READ } from '../formats/prefetch/layout.ts';
import { decodeTrace } from '../formats/prefetch/reader.ts';
import type { LayerKind } from '../reader/layer.ts';
import { composePrefetch, type PrefetchForm } from './compose.ts';
import type { PrefetchItem, ResolvedPrefetch } from './resolve-list.ts';

const BLOCK = 4096;

/** A resolved list of items; every file has one range of its own, one behind the other from 1 MiB on. */
function resolved(
  items: readonly { line: string; directory?: string; files: readonly [string, number][] }[],
): ResolvedPrefetch {
  let at = 1 << 20;
  const built: PrefetchItem[] = items.map(({ line, directory, files }, i) => ({
    line: { number: i + 1, path: line },
    ...(directory === undefined ? {} : { directory }),
    files: files.map(([path, size]) => {
      const length = Math.ceil(size / BLOCK) * BLOCK;
      const ranges = length === 0 ? [] : [{ offset: at, length }];
      at += length;
      return { path, size, ranges };
    }),
  }));
  const all = built.flatMap(({ files }) => files);
  const bytes = all.reduce((sum, { size }) => sum + size, 0);
  const metadata = [{ offset: 0, length: BLOCK }];
  return { metadata, items: built, problems: [], files: all.length, bytes };
}

const file = (path: string, size = 5000) => ({ line: path, files: [[path, size]] as [string, number][] });

/** A device whose part from `border` on is the upper layer's; tags by the layers' kinds. */
function stack(kinds: readonly LayerKind[], border = Number.POSITIVE_INFINITY) {
  return {
    kinds,
    device: {
      *segments(offset: number, length: number): Generator<LayerSegment> {
        for (let from = offset; from < offset + length; ) {
          const layer = from < border ? 0 : 1;
          const end = Math.min(offset + length, layer === 0 ? border : Number.POSITIVE_INFINITY);
          const tag = kinds[layer] === 'index-only' && offset > 0 ? 1 : 0;
          yield { offset: from, length: end - from, moffset: from + BLOCK, zeroed: false, tag, layer };
          from = end;
        }
      },
    },
  };
}

const FULL = stack(['full']);
const INDEXED = stack(['index-only']);

function lines(list: ResolvedPrefetch, form?: PrefetchForm) {
  const { composed, warnings } = composePrefetch(list, INDEXED, form);
  return {
    lines: Buffer.from(composed?.content ?? [])
      .toString('latin1')
      .split('\n')
      .slice(0, -1),
    warnings,
    form: composed?.form,
  };
}

describe('a trace', () => {
  it('names metadata first, joins neighbours, and reads no more than 1 MiB at a time', () => {
    const list = resolved([file('/a', 2 * MAX_READ + 100), file('/b', 10)]);
    const { composed } = composePrefetch(list, FULL);
    const start = (1 << 20) + BLOCK;
    expect(composed).toMatchObject({ form: 'trace', entries: 4, warnings: [], covered: 2 * MAX_READ + 2 * BLOCK });
    expect(decodeTrace(composed!.content)).toEqual([
      { layer: 0, offset: BLOCK, length: BLOCK },
      { layer: 0, offset: start, length: MAX_READ },
      { layer: 0, offset: start + MAX_READ, length: MAX_READ },
      { layer: 0, offset: start + 2 * MAX_READ, length: 2 * BLOCK },
    ]);
  });

  it('does not join across layers', () => {
    const border = (1 << 20) + BLOCK;
    const { composed } = composePrefetch(resolved([file('/a', 2 * BLOCK)]), stack(['full', 'full'], border));
    expect(decodeTrace(composed!.content).map(({ layer }) => layer)).toEqual([0, 0, 1]);
  });

  it('over index-only layers brings nothing, and says so', () => {
    const { composed, warnings } = composePrefetch(resolved([file('/a')]), INDEXED, 'trace');
    expect(composed).toBeUndefined();
    expect(warnings).toEqual(["8192 bytes lie in the base image's layers, which a trace cannot prefetch: line 1 (/a)"]);
  });
});

describe('in a mixed stack', () => {
  const MIXED = stack(['index-only', 'full'], (1 << 20) + 3 * BLOCK);

  it('the form that brings more is taken', () => {
    // Two blocks below the border, three above it.
    const list = resolved([file('/low', 3 * BLOCK), file('/high', 3 * BLOCK)]);
    expect(composePrefetch(list, MIXED).composed?.form).toBe('list');
    const odd = resolved([file('/low', 3 * BLOCK), file('/high++', 4 * BLOCK)]);
    const { composed, warnings } = composePrefetch(odd, MIXED);
    expect(composed?.form).toBe('trace');
    expect(warnings).toEqual([expect.stringContaining('12288 bytes lie in the base')]);
  });

  it('the trace is, where all of the list lies in full layers', () => {
    const above = resolved([{ line: '/low', files: [['/low', 3 * BLOCK]] }, file('/high')]);
    const list = { ...above, items: above.items.slice(1) };
    expect(composePrefetch(list, MIXED).composed?.form).toBe('trace');
  });
});

describe('a list', () => {
  it.each(['/usr/lib/libstdc++.so.6', '/@scope/a', '/a:b', '/a b', '/caff\xc3\xa8', '/caf\xe9'])(
    'leaves %s out, and the warning names the line',
    (path) => {
      const found = lines(resolved([file('/fine'), file(path)]));
      expect(found.lines).toEqual(['/fine']);
      expect(found.warnings).toEqual([
        expect.stringMatching(/^line 2 \(.*\): not prefetched, the runtime skips names/s),
      ]);
      expect(found.warnings[0]).toContain(path);
    },
  );

  it('says a directory as its files', () => {
    const found = lines(
      resolved([
        {
          line: '/d/',
          directory: '/d',
          files: [
            ['/d/a', 1],
            ['/d/b', 1],
          ],
        },
      ]),
    );
    expect(found).toEqual({ lines: ['/d/a', '/d/b'], warnings: [], form: 'list' });
  });

  it('names the directory itself if the runtime does not accept a name in it: walking finds it', () => {
    const found = lines(
      resolved([
        {
          line: '/d/',
          directory: '/d',
          files: [
            ['/d/a', 1],
            ['/d/b++', 1],
          ],
        },
      ]),
    );
    expect(found).toEqual({ lines: ['/d/'], warnings: [], form: 'list' });
  });

  it('names the files of a directory that cannot be said', () => {
    const found = lines(resolved([file('/x'), { line: '/c++/', directory: '/c++', files: [['/c++/a', 1]] }]));
    expect(found.lines).toEqual(['/x']);
    expect(found.warnings).toEqual([expect.stringContaining('line 2 (/c++/)')]);
  });

  it('of 10,000 files of one directory says the directory, since they do not fit', () => {
    const files = Array.from({ length: 10_000 }, (_, i): [string, number] => [`/d/file-${i}`, 100]);
    const found = lines(resolved([{ line: '/d/', directory: '/d', files }, file('/last')]));
    expect(found).toEqual({ lines: ['/d/', '/last'], warnings: [], form: 'list' });
  });

  it('expands the first directories as long as they fit', () => {
    const some = (name: string, count: number) => ({
      line: `/${name}/`,
      directory: `/${name}`,
      files: Array.from({ length: count }, (_, i): [string, number] => [`/${name}/${i}`, 1]),
    });
    const found = lines(resolved([some('a', 20_000), some('b', 100), some('c', 10_000)]));
    expect(found.lines).toEqual(['/a/', ...Array.from({ length: 100 }, (_, i) => `/b/${i}`), '/c/']);
  });

  it('of more than 64 KiB loses its end, and the warning names the lines', () => {
    const path = (i: number) => `/${'x'.repeat(56)}-${String(i).padStart(5, '0')}`;
    const found = lines(resolved(Array.from({ length: 1100 }, (_, i) => file(path(i)))));
    expect(found.lines).toHaveLength(MAX_LIST_SIZE / 64);
    expect(found.lines.at(-1)).toBe(path(1023));
    expect(found.warnings).toEqual([expect.stringContaining(`line 1025 (${path(1024)}) to line 1100 (${path(1099)})`)]);
  });

  it('without any expressible line is empty', () => {
    expect(lines(resolved([file('/a b')]))).toMatchObject({ lines: [], form: undefined });
    expect(composePrefetch(resolved([]), FULL).composed).toBeUndefined();
  });
});
