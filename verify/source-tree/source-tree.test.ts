import { randomBytes } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it, test } from 'vitest';
import { AccelError } from '../../base/error.ts';
import { compressLayer, type LayerCompression } from '../../fixtures/compress.ts';
import { buildLayout } from '../../fixtures/image-builder.ts';
import { TarBuilder } from '../../fixtures/tar-builder.ts';
import type { RuleReport } from '../../formats/layer/tree.ts';
import { openLayout } from '../../oci/layout-target.ts';
import { IMAGES } from '../../tests/e2e/images.ts';
import { expectedTree } from '../../tests/support/expected-tree.ts';
import { describeWith, withTempDirectory } from '../../tests/support/tools.ts';
import { diffTrees } from '../../tests/support/tree.ts';
import { applyLayer } from './apply-layer.ts';
import { loadSourceImage, readSourceTree } from './build-tree.ts';
import { compressionOf, tarOf } from './decompress.ts';
import { SourceTreeBuilder } from './flatten.ts';
import type { SourceNode } from './node.ts';
import { entriesOf } from './testing/entries-of.ts';
import { buildStack, stacks } from './testing/stacks.ts';

async function* pieces(bytes: Uint8Array, step = 4096): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += step) yield bytes.subarray(at, at + step);
}

const tooMany = (): AccelError => new AccelError('limit-exceeded', 'too many');
const SILENT: RuleReport = { changed: () => undefined, differs: () => undefined };

async function flatten(tars: readonly Uint8Array[], step?: number, report = SILENT): Promise<SourceNode> {
  const builder = new SourceTreeBuilder();
  for (const tar of tars) {
    await applyLayer(pieces(tar, step), builder.nextLayer(report), { hashContent: true, maxEntries: 100_000, tooMany });
  }
  return builder.finish();
}

const paths = async (...tars: TarBuilder[]): Promise<string[]> =>
  entriesOf(await flatten(tars.map((tar) => tar.build()))).map(({ path }) => path);

describe('whiteouts', () => {
  const lower = () => new TarBuilder().dir('d/').file('d/low', 'x').file('f', 'f');

  it.each([
    ['before', new TarBuilder().whiteout('d').file('d/new', 'n')],
    ['behind', new TarBuilder().file('d/new', 'n').whiteout('d')],
  ])('spare what their own layer puts %s them', async (_, upper) => {
    expect(await paths(lower(), upper)).toEqual(['/', '/d', '/d/new', '/f']);
    const d = (await flatten([lower().build(), upper.build()])).child('d');
    expect(d?.attributes).toMatchObject({ mode: 0o755, mtime: { seconds: 0, nanoseconds: 0 } });
  });

  it('leave a file to the hard links that their own layer made before', async () => {
    expect(await paths(lower(), new TarBuilder().link('kept', 'f').whiteout('f'))).toEqual([
      '/',
      '/d',
      '/d/low',
      '/kept',
    ]);
    const late = paths(lower(), new TarBuilder().whiteout('f').link('kept', 'f'));
    await expect(late).rejects.toMatchObject({ code: 'tar-invalid' });
  });

  it('of AUFS mean nothing', async () => {
    expect(await paths(lower(), new TarBuilder().file('.wh..wh.plnk', ''))).toEqual(['/', '/d', '/d/low', '/f']);
    const kept = new TarBuilder().dir('.wh..wh.plnk/').file('.wh..wh.plnk/162.1', 'x').file('.wh..wh.plnk/.wh.f', '');
    expect(await paths(lower(), kept)).toEqual(['/', '/d', '/d/low', '/f']);
  });
});

describe('paths', () => {
  it.each([
    ['leads out of the image', new TarBuilder().file('a/../../x', '')],
    ['leads through a file', new TarBuilder().file('f', '').file('f/x', '')],
    ['goes in circles', new TarBuilder().symlink('a', 'b').symlink('b', 'a').file('a/x', '')],
    ['has no name behind the whiteout prefix', new TarBuilder().file('d/.wh.', '')],
    ['replaces the root', new TarBuilder().file('./', '')],
    ['links to a directory', new TarBuilder().dir('d/').link('l', 'd')],
    ['links to nothing', new TarBuilder().link('l', 'd')],
  ])('one that %s is refused', async (_, tar) => {
    await expect(paths(tar)).rejects.toMatchObject({ code: 'tar-invalid' });
  });

  it('a symlink of half a million parts costs no stack', async () => {
    const tar = new TarBuilder().symlink('s', `${'./'.repeat(400_000)}d`).file('s/x', '');
    expect(await paths(tar)).toEqual(['/', '/d', '/d/x', '/s']);
  });

  it('entries past the bound are refused', async () => {
    const tar = new TarBuilder().file('a').file('b').file('c').build();
    const layer = new SourceTreeBuilder().nextLayer(SILENT);
    await expect(applyLayer(pieces(tar), layer, { hashContent: true, maxEntries: 2, tooMany })).rejects.toMatchObject({
      code: 'limit-exceeded',
    });
  });
});

test('warns of values that ext4 cannot store: far times, attributes of other systems', async () => {
  const warnings: string[] = [];
  const tar = new TarBuilder()
    .file('future', '', { mtime: '99999999999' })
    .file('past', '', { mtime: '-99999999999' })
    .file('mac', '', { xattrs: { 'com.apple.quarantine': 'x', 'user.kept': 'y' } });
  const root = await flatten([tar.build()], 4096, { ...SILENT, changed: (_, path) => warnings.push(path) });
  expect(warnings).toEqual(['future', 'past', 'mac']);
  const at = (name: string) => root.child(name)!.attributes;
  expect(['future', 'past', 'mac'].map((name) => at(name).mtime.seconds)).toEqual([
    15_032_385_535, -2_147_483_648, 1_700_000_000,
  ]);
  expect([...at('mac').xattrs.keys()]).toEqual(['user.kept']);
  const builder = new SourceTreeBuilder();
  const layer = builder.nextLayer(SILENT);
  expect(await applyLayer(pieces(tar.build()), layer, { hashContent: false, maxEntries: 10, tooMany })).toBe(3);
  expect(builder.finish().child('mac')?.attributes.content).toBeUndefined();
});

describe('compression', () => {
  const tar = new TarBuilder().file('a', randomBytes(120_000)).build();

  it.each(['none', 'gzip', 'gzip-members', 'zstd'] as const)(
    '%s is recognized by content',
    async (compression: LayerCompression) => {
      const blob = await compressLayer(tar, compression);
      for (const step of [1, 321, 65_536]) {
        if (step === 1 && blob.length > 400_000) continue;
        const chunks: Uint8Array[] = [];
        for await (const chunk of tarOf(pieces(blob, step))) chunks.push(chunk.slice());
        expect(Buffer.concat(chunks).equals(Buffer.from(tar))).toBe(true);
      }
    },
  );

  it('a skippable frame in front is zstd', () => {
    expect(compressionOf(new Uint8Array([0x5a, 0x2a, 0x4d, 0x18]))).toBe('zstd');
    expect(compressionOf(new Uint8Array([0x1f]))).toBe('none');
    expect(compressionOf(new Uint8Array(0))).toBe('none');
  });

  it('a truncated gzip stream is an error, and so is what its own source throws', async () => {
    const drain = async (blob: AsyncIterable<Uint8Array>): Promise<void> => {
      for await (const _ of tarOf(blob));
    };
    const blob = gzipSync(tar);
    await expect(drain(pieces(blob.subarray(0, blob.length - 9)))).rejects.toMatchObject({ code: 'gzip-invalid' });
    async function* broken(): AsyncGenerator<Uint8Array> {
      yield blob.subarray(0, 70_000);
      throw new Error('the line went dead');
    }
    await expect(drain(broken())).rejects.toThrow('the line went dead');
  });
});

test('an image in a layout: digests, diff_ids, and the layer that is damaged', async () => {
  await withTempDirectory(async (directory) => {
    const layers = [{ tar: new TarBuilder().file('a', 'a').build() }, { tar: new TarBuilder().file('b', 'b').build() }];
    const built = await buildLayout(directory, 'good', layers);
    const corruptBlob = Buffer.from(await compressLayer(layers[1]!.tar, 'gzip'));
    corruptBlob[corruptBlob.length - 5]! ^= 1;
    const target = await openLayout(directory);
    const load = async (tag: string) => loadSourceImage(target, await target.resolve(tag));
    let read = 0;
    const good = await load('good');
    const tree = await readSourceTree(target, good.manifest, { onRead: (bytes) => (read += bytes) });
    expect(tree.layers.map(({ diffId }) => diffId)).toEqual(built.diffIds);
    expect(read).toBe(good.manifest.layers.reduce((sum, layer) => sum + layer.size, 0));
    await buildLayout(directory, 'bad', [layers[0]!, { ...layers[1]!, corruptBlob }]);
    await expect(readSourceTree(target, (await load('bad')).manifest)).rejects.toMatchObject({
      where: { 'source layer': '2 of 2', digest: good.manifest.layers[1]!.digest },
    });
  });
});

describeWith({ tools: ['python3'] }, 'the tree that Python and its tar reader make', () => {
  test.each(IMAGES)('of $name', async ({ layers }) => {
    const tars = await layers();
    const expected = await expectedTree(tars);
    for (const step of [321, 65_536]) expect(diffTrees(expected, entriesOf(await flatten(tars, step)))).toEqual([]);
  });

  test('of stacks that nobody thought of, or both refuse them', async () => {
    await fc.assert(
      fc.asyncProperty(stacks, async (stack) => {
        const tars = buildStack(stack);
        const [expected, found] = await Promise.all([
          outcome(() => expectedTree(tars)),
          outcome(async () => entriesOf(await flatten(tars))),
        ]);
        // A hard link to what the same layer whites out is more than the model wants to know.
        if (
          expected.error?.includes('bad hard link target') === true &&
          stack.flat().some(({ kind }) => kind === 'whiteout' || kind === 'opaque')
        )
          return;
        expect({ refused: found.error !== undefined, found: found.error }).toMatchObject({
          refused: expected.error !== undefined,
        });
        if (expected.value !== undefined && found.value !== undefined)
          expect(diffTrees(expected.value, found.value)).toEqual([]);
      }),
      { numRuns: 60, interruptAfterTimeLimit: 20_000, markInterruptAsFailure: false },
    );
  });
});

async function outcome<T>(body: () => Promise<T>): Promise<{ readonly value?: T; readonly error?: string }> {
  try {
    return { value: await body() };
  } catch (error) {
    return { error: (error as Error).message };
  }
}
