import { createHash } from 'node:crypto';
import { access, readdir, readFile, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { Zstd } from '@hpcc-js/wasm-zstd';
import { describe, expect, test } from 'vitest';
import { requireBuild } from '../tests/support/accel.ts';
import { run, withTempDirectory } from '../tests/support/tools.ts';
import { measureCommand } from './child.ts';
import { highWater } from './counters.ts';
import { measureReads, planReads } from './device-reads.ts';
import { bytesAdded, readImage, tarSize, withCopy, withTars } from './layout.ts';
import { judge } from './limits.ts';
import { shaInstructions } from './machine.ts';
import { makeImage } from './make-image.ts';
import { makeLayer, runtimeLayer } from './make-layer.ts';
import { formatTable, median } from './report.ts';
import { measureScale } from './scale.ts';
import { withSection } from './section.ts';

const SCALE = 0.002;

test('the generated image is a layout whose digests hold, and the same tar each time', async () => {
  await withTempDirectory(async (directory) => {
    const image = await readImage(await makeLayer(directory, SCALE));
    const bytes = await readFile(image.layers[0]!);
    expect(createHash('sha256').update(bytes).digest('hex')).toBe(image.layers[0]!.split('/').at(-1));
    expect(bytes.length).toBe(image.compressed);
    // The tar's digest is pinned, the blob's is not: zlib may compress otherwise on another version of Node.
    const tar = createHash('sha256').update(gunzipSync(bytes)).digest('hex');
    expect(tar).toBe('06c1b9ca2d2e91b99ffe0a190c0498634165e9741e7d7ba839beb2b8edc62d3f');
  });
});

test('layers of several kinds: a zstd blob and a gzip blob of one recipe hold the same tar', async () => {
  await withTempDirectory(async (directory) => {
    const layers = [{ ...runtimeLayer(SCALE), prefix: 'srv/part-0/' }];
    const gzip = await readImage(await makeImage(directory, { folder: 'gzip', layers }));
    const compression = { kind: 'zstd', level: 3 } as const;
    const zstd = await readImage(await makeImage(directory, { folder: 'zstd', layers, compression }));
    const unpacked = (await Zstd.load()).decompress(await readFile(zstd.layers[0]!));
    await withTars(directory, gzip.layers, async ({ files, size }) => {
      expect(Buffer.compare(unpacked, await readFile(files[0]!))).toBe(0);
      expect([size, await tarSize(gzip.layout)]).toEqual([unpacked.length, unpacked.length]);
    });
    expect((await readdir(directory)).sort()).toEqual(['accel-bench-gzip', 'accel-bench-zstd']);
  });
});

/** Type of a file system in memory (statfs(2)), where nothing is written to storage. */
const TMPFS = 0x01021994;

describe.runIf(process.platform === 'linux')('a process is charged with what it and its children used', () => {
  const node = (script: string) =>
    measureCommand({ program: process.execPath, args: ['-e', script], keepOutput: true });
  const inChild = (script: string) =>
    node(
      `process.stdout.write(require('node:child_process').execFileSync(process.execPath, ['-e', ${JSON.stringify(script)}]))`,
    );

  test('processor time', async () => {
    const { usage, stdout } = await inChild(
      'const end = Date.now() + 200; while (Date.now() < end); process.stdout.write(String(process.cpuUsage().user / 1e6))',
    );
    // The kernel shows hundredths of a second, cut off, of user and of system time.
    expect(usage.cpu).toBeGreaterThanOrEqual(Number(stdout) - 0.02);
    expect(Number(stdout)).toBeGreaterThan(0);
    expect(usage.wall).toBeGreaterThanOrEqual(0.2);
  });

  test('bytes written', async () => {
    await withTempDirectory(async (directory) => {
      const file = JSON.stringify(join(directory, 'file'));
      const { usage } = await inChild(`require('node:fs').writeFileSync(${file}, Buffer.alloc(8_000_000, 1))`);
      expect(usage.written).toBeGreaterThanOrEqual((await statfs(directory)).type === TMPFS ? 0 : 8_000_000);
    });
  });

  test('its high-water mark stays when memory is given back', () => {
    // The kernel counts pages for each processor and adds them up lazily (percpu_counter): a few may be missing at a time.
    const slack = 1 << 20;
    const before = highWater('self');
    let block: Buffer | undefined = Buffer.alloc(64 << 20, 1);
    const with64 = highWater('self');
    block = undefined;
    expect([block, with64 >= before - slack, highWater('self') >= with64 - slack, before > 20 << 20]).toEqual([
      undefined,
      true,
      true,
      true,
    ]);
  });

  test('one that fails is an error with its exit code and what it said', async () => {
    await expect(node('console.error("why"); process.exit(3)')).rejects.toThrow(/exit 3\nwhy/);
  });
});

test.each([
  ['x86 with', 'model name\t: a\nflags\t\t: fpu sha_ni avx\n', 'with SHA-NI'],
  ['x86 without', 'flags\t\t: fpu sha_nix avx\n', 'without SHA instructions'],
  ['Arm', 'Features\t: fp aes sha1 sha2\n', 'with SHA2 instructions'],
  ['no /proc', undefined, 'SHA instructions unknown'],
])('SHA instructions, %s', (_name, cpuInfo, says) => expect(shaInstructions(cpuInfo)).toBe(says));

test('a round converts in a copy that is gone afterwards, and what it pushed is counted', async () => {
  await withTempDirectory(async (directory) => {
    const { layout } = await readImage(await makeLayer(directory, SCALE));
    const place = await withCopy(layout, async (copy) => {
      expect(await bytesAdded(layout, copy)).toBe(0);
      expect((await readImage(copy)).layers[0]).toContain(copy);
      return copy;
    });
    await expect(access(place)).rejects.toThrow('ENOENT');
    await access(join(layout, 'index.json'));
  });
});

test.each([
  ['files', 2500, 2_549_760],
  ['bytes', 70_000_001, 70_002_176],
  ['layers', 3, 3 * 2048],
])('%s, %i of them, are generated, converted and swallowed', async (what, count, source) => {
  const result = await measureScale(what, count);
  expect(result).toMatchObject({ what, count, source });
  expect(result.sizes.every((size) => size > 0)).toBe(true);
});

test('an unknown kind of scaling is refused', async () => {
  await expect(measureScale('nothing', 1)).rejects.toThrow('files|bytes|size|layers COUNT');
});

test.each([
  ['one', [3], 3],
  ['odd', [9, 1, 2], 2],
  ['even', [4, 1, 2, 9], 3],
])('median %s', (_name, values, middle) => {
  expect(median(values)).toBe(middle);
});

const usage = (wall: number) => ({ wall, cpu: wall * 2, peakRss: wall * 2 ** 20, written: wall * 1e6 });
const ROWS = [
  { what: 'gunzip', rounds: [usage(10), usage(11), usage(30)] },
  { what: 'igzip -dc', rounds: [] },
  { what: 'zstd -dc', rounds: [usage(8)] },
  { what: 'full', rounds: [usage(22), usage(21), usage(90)], pushed: 21_000_000 },
  { what: 'both', rounds: [usage(24)], pushed: 24_000_000 },
  { what: 'another', rounds: [usage(24)], pushed: 4_000_000 },
];
const CONTEXT = { baseline: 'gunzip', source: 20_000_000, tar: 44_000_000 };

test('a row is the medians of its rounds beside the baseline; a program that is missing is named', () => {
  const lines = formatTable(ROWS, CONTEXT).split('\n');
  expect([lines[3], lines[5]]).toEqual([
    '| igzip -dc | not installed |  |  |  |  |  |  |  |  |',
    '| full | 22.00 (21.00–90.00) | 2.00 | 2 | 44.00 (42.00–180.00) | 2.00 | 90 | 22 | 21.0 | 105.0 |',
  ]);
});

test('limits are held by medians, resources by the worst; what was not measured is not judged', () => {
  const held = judge(ROWS, CONTEXT, {
    fullWall: 2,
    fullCpu: 1.9,
    indexWall: 1,
    bothWall: 1.1,
    fullSize: 1.04,
    fullOverZstd: 2.5,
  });
  expect(held.map(({ text, held: yes }) => [yes, text])).toEqual([
    [true, 'wall time of full over node:zlib: 2.00, at most 2.00'],
    [false, 'CPU time of full over node:zlib: 2.00, at most 1.90 (**not held**)'],
    [false, 'wall time of full over zstd -dc: 2.75, at most 2.50 (**not held**)'],
    [true, 'wall time of both over full: 1.09, at most 1.10'],
    [false, 'size of full over source: 1.05, at most 1.04 (**not held**)'],
    [true, 'peak RSS in MiB, the worst conversion: 90, at most 200'],
    [true, 'bytes written over pushed, the worst conversion: 1.05, at most 1.05'],
  ]);
});

test.each([
  [44_000_000, true, 'at most 2.10'],
  [4_400_000_000, false, 'at most 1.90 (**not held**)'],
])('a limit depends on how fast the baseline is: %i bytes in 11 s', (tar, held, text) => {
  const [wall] = judge(ROWS, { ...CONTEXT, tar }, { fullWall: { usual: 2.1, fast: 1.9 } });
  expect(wall).toEqual({ text: `wall time of full over node:zlib: 2.00, ${text}`, held });
});

test('reads are of data alone, the same for the same device, and as long as they say', async () => {
  const KIB = 1024;
  // Data that touches, a hole, data too short for a large read, and a hole to the end.
  const parts = [
    { offset: 0, length: 100 * KIB, zeroed: false },
    { offset: 100 * KIB, length: 60 * KIB, zeroed: false },
    { offset: 160 * KIB, length: 40 * KIB, zeroed: true },
    { offset: 200 * KIB, length: 6 * KIB, zeroed: false },
    { offset: 206 * KIB, length: 50 * KIB, zeroed: true },
  ];
  const read: { offset: number; length: number }[] = [];
  const device = {
    size: 256 * KIB,
    parts: () => parts,
    read: async (offset: number, length: number) => {
      read.push({ offset, length });
      return new Uint8Array(length);
    },
  };
  const { sequential, small, large } = planReads(device);
  expect(sequential).toEqual([
    { offset: 0, length: 128 * KIB },
    { offset: 128 * KIB, length: 32 * KIB },
    { offset: 200 * KIB, length: 6 * KIB },
  ]);
  const placesOf = (reads: readonly { offset: number }[]) =>
    [...new Set(reads.map(({ offset }) => offset / KIB))].sort((a, b) => a - b);
  expect(placesOf(small)).toEqual([...Array.from({ length: 40 }, (_, block) => block * 4), 200]);
  expect(placesOf(large)).toEqual(Array.from({ length: 9 }, (_, block) => block * 4));
  expect([small, large].map((reads) => new Set(reads.map(({ length }) => length / KIB)))).toEqual([
    new Set([4]),
    new Set([128]),
  ]);
  const cost = await measureReads(device);
  expect(Object.values(cost).every((figure) => figure > 0)).toBe(true);
  expect(read).toEqual(expect.arrayContaining([...sequential, ...small, ...large]));
});

test('a section is added at the end, and replaced in place', () => {
  const one = withSection('', 'one', 'first');
  const two = withSection(one, 'two', 'second\n');
  expect(two).toContain('first');
  expect(two.indexOf('second')).toBeGreaterThan(two.indexOf('<!-- end one -->'));
  const again = withSection(two, 'one', 'changed');
  expect(again).toBe(two.replace('first', 'changed'));
  expect(withSection(again, 'two', 'second')).toBe(again);
  // The rest of the marker, after the name, may change.
  const old = one.replace(/<!-- begin one:.*-->/, '<!-- begin one: as it was -->');
  expect(withSection(old, 'one', 'first')).toBe(one);
});

test('a run from end to end, small: every candidate is measured, sections are written, nothing but images is left', async () => {
  await requireBuild();
  await withTempDirectory(async (directory) => {
    const main = join(import.meta.dirname, '../dist/bench/main.js');
    const work = join(directory, 'work');
    const page = join(directory, 'page.md');
    const env = { ACCEL_BENCH_PAGE: page, OVERLAYBD_CREATE: '/nowhere' };
    const only = ['one-layer', 'growing-layer', 'start-up', 'reference', 'read-cost'].flatMap((name) => [
      '--only',
      name,
    ]);
    const modes = ['full', 'index-only'].flatMap((name) => ['--mode', name]);
    const args = [main, '--dir', work, '--rounds', '1', '--scale', '0.001', '--write', ...only, ...modes];
    await run(process.execPath, [...args, '--prepare'], { env });
    expect((await readdir(work)).length).toBe(4);
    const result = await run(process.execPath, args, { env });
    const [stdout, stderr] = [result.stdout.toString('utf8'), result.stderr];
    const text = await readFile(page, 'utf8');
    expect([...text.matchAll(/<!-- begin (\S+):/g)].map((match) => match[1])).toEqual([
      'one-layer',
      'growing-layer',
      'start-up',
      'read-cost',
    ]);
    // The name, a time, a ratio: of the baseline, the other programs (or that they are missing), and each mode.
    const measured = (name: string) =>
      new RegExp(`^\\| ${name} \\| (\\d+\\.\\d\\d \\(.*\\) \\| \\d|not installed)`, 'm');
    for (const name of ['node:zlib gunzip', 'gzip -dc', 'igzip -dc', 'lz4 -1 -B4 of the tar', 'sha256sum of the tar'])
      expect(stdout).toMatch(measured(name));
    for (const name of ['full', 'index-only', 'node -e 0', 'accel --version', 'accel convert, demo image'])
      expect(stdout).toMatch(new RegExp(`^\\| ${name} \\| \\d`, 'm'));
    expect(stdout).toMatch(/^\| 4 GB \| index-only \| \d/m);
    // Three figures of reads, and the bytes.
    const costs = String.raw`(\| \d+ \(\d+–\d+\) ){3}\| \d+\.\d \|$`;
    for (const name of ['full', 'index-only']) expect(stdout).toMatch(new RegExp(`^\\| ${name} ${costs}`, 'm'));
    expect(stdout).not.toContain('NaN');
    expect(text).toContain('A trial at 0.001 of the full size');
    expect(stderr).toContain('reference: skipped, not installed: overlaybd-create');
    expect((await readdir(work)).filter((name) => !/-scale-0\.001$/.test(name))).toEqual([]);
    await run(process.execPath, [main, '--dir', work, '--clean']);
    expect(await readdir(work)).toEqual([]);
    expect((await stat(page)).isFile()).toBe(true);
  });
}, 300_000);
