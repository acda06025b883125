/** `ls`, `cat` and `cp` on converted images, as a user types them. */
import { lstat, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { TarBuilder } from '../../fixtures/tar-builder.ts';
import { convertedLayout, FULL, INDEXED } from '../../reader/testing/test-images.ts';
import type { TestLayout } from '../../tests/support/converter.ts';
import { runProgram } from '../program.ts';

const CONTENT = Buffer.from(Array.from({ length: 300_000 }, (_, i) => (i * i) & 0xff));

let layout: TestLayout;
let directory: string;

beforeAll(async () => {
  const tar = new TarBuilder({ mtime: '1700000000.5' })
    .dir('etc/')
    .file('etc/os-release', 'NAME=test\n')
    .symlink('etc/link', 'os-release')
    .symlink('etc/loop', 'loop')
    .file(Buffer.from('etc/\x1b]0;caf\xe9', 'latin1'), 'x', { uid: 1000, gid: 100 })
    .file('data', CONTENT, { mode: 0o4755 })
    .symlink('up', '../../../etc')
    .dir('dev/')
    .device('dev/null', 'character', 1, 3, { mode: 0o666 });
  layout = await convertedLayout([{ tar: tar.build() }]);
});
afterAll(() => layout.remove());
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'accel-cli-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

/** An output that keeps bytes, and may be one that nobody reads. */
class Bytes {
  readonly chunks: Uint8Array[] = [];
  readonly isTTY: boolean;
  destroyed = false;
  readonly #closeAfter: number;
  constructor(isTTY = false, closeAfter = Number.POSITIVE_INFINITY) {
    this.isTTY = isTTY;
    this.#closeAfter = closeAfter;
  }
  write(part: string | Uint8Array): boolean {
    this.chunks.push(Buffer.from(part as Uint8Array));
    this.destroyed = this.chunks.length >= this.#closeAfter;
    return true;
  }
  get text(): string {
    return Buffer.concat(this.chunks).toString('latin1');
  }
}

async function run(args: readonly string[], stdout = new Bytes()) {
  const stderr = new Bytes();
  const code = await runProgram(args, {
    stdout,
    stderr,
    stdin: (async function* () {})(),
    env: { NO_COLOR: '1' },
    signal: new AbortController().signal,
    loadConverter: () => Promise.reject(new Error('no conversion was asked for')),
  });
  return { code, out: stdout.text, err: stderr.text };
}

describe.each([FULL, INDEXED])('%s', (tag) => {
  const ref = (): string => `oci:${layout.directory}:${tag}`;
  const COST = /^fetched [\d.]+ k?B in \d+ requests?, .* of the image \([\d.]+ [kM]?B\)\n$/;

  it('ls: names in byte order, and what it cost', async () => {
    const { code, out, err } = await run(['ls', ref()]);
    expect([code, out]).toEqual([0, 'data\ndev\netc\nup\n']);
    expect(err).toMatch(COST);
    expect((await run(['ls', ref(), '-q'])).err).toBe('');
  });

  it('ls -l: the columns of ls, symlinks as themselves', async () => {
    const { out } = await run(['ls', '-l', ref(), 'etc'], new Bytes(true));
    expect(out.split('\n')).toEqual([
      '-rw-r--r-- 1 1000 100  1 2023-11-14T22:13:20.5Z \\x1b]0;caf\\xe9',
      'lrwxrwxrwx 1    0   0 10 2023-11-14T22:13:20.5Z link -> os-release',
      'lrwxrwxrwx 1    0   0  4 2023-11-14T22:13:20.5Z loop -> loop',
      '-rw-r--r-- 1    0   0 10 2023-11-14T22:13:20.5Z os-release',
      '',
    ]);
    expect((await run(['ls', '-l', `${ref()}:/dev/null`])).out).toBe(
      'crw-rw-rw- 1 0 0 1,3 2023-11-14T22:13:20.5Z /dev/null\n',
    );
  });

  it('ls escapes names into a pipe as well; ls -0 writes them as they are', async () => {
    const lines = (await run(['ls', ref(), 'etc'])).out;
    expect(lines).toBe('\\x1b]0;caf\\xe9\nlink\nloop\nos-release\n');
    const exact = await run(['ls', '-0', ref(), 'etc']);
    expect(exact.out).toContain('\x1b]0;caf');
    expect(exact.out.split('\0')).toHaveLength(5);
  });

  it('ls -R: every path once', async () => {
    const { out } = await run(['ls', '-R', ref()]);
    const paths = [
      '/',
      '/data',
      '/dev',
      '/dev/null',
      '/etc',
      '/etc/\\x1b]0;caf\\xe9',
      '/etc/link',
      '/etc/loop',
      '/etc/os-release',
      '/up',
    ];
    expect(out).toBe(`${paths.join('\n')}\n`);
  });

  it('ls follows a symlink inside of the image', async () => {
    expect((await run(['ls', ref(), '/up/../etc/../up'])).out).toContain('os-release\n');
  });

  it('cat: the bytes, through symlinks', async () => {
    expect((await run(['cat', ref(), '/data'])).out).toBe(CONTENT.toString('latin1'));
    expect((await run(['cat', `${ref()}:/up/link`])).out).toBe('NAME=test\n');
  });

  it('cat: nothing more is fetched when nobody reads', async () => {
    const { code } = await run(['cat', ref(), '/data'], new Bytes(false, 1));
    expect(code).toBe(0);
  });

  it.each([
    [['cat', '/etc'], 1, 'a directory'],
    [['cat', '/etc/absent'], 1, '/etc/absent'],
    [['cat', '/etc/loop'], 1, '40 symlinks'],
    [['cat'], 2, 'no path'],
    [['ls', '/etc/os-release/x'], 1, 'is a file'],
    [['cp', '/dev/null', 'X'], 2, '--devices'],
  ])('%j: exit %i', async ([command, ...paths], code, words) => {
    const result = await run([command!, ref(), ...paths]);
    expect(result.code).toBe(code);
    expect(result.err).toContain(words);
  });

  it('cp: a file, both ways to write it, without its setuid bit', async () => {
    const to = join(directory, 'copy');
    const { code, err } = await run(['cp', ref(), '/data', to]);
    expect(code).toBe(0);
    expect(err).toContain('copied 1 file (300 kB)\nwithout setuid: /data; the bits stay with --keep-setuid\nfetched ');
    expect((await readFile(to)).equals(CONTENT)).toBe(true);
    expect((await lstat(to)).mode & 0o7777).toBe(0o755);
    await run(['cp', `${ref()}:/etc/os-release`, directory]);
    expect(await readFile(join(directory, 'os-release'), 'utf8')).toBe('NAME=test\n');
  });

  it('cp: a tree, and what it left out', async () => {
    const { err } = await run(['cp', ref(), '/dev', directory]);
    expect(err).toContain(
      'copied 0 files, 1 directory (0 B)\nleft out: /dev/null; devices and pipes are copied with --devices\n',
    );
  });

  it('cp: two arguments without a path in the first are a mistake', async () => {
    expect((await run(['cp', ref(), directory])).code).toBe(2);
  });
});

it('an ordinary image is refused, with the way out', async () => {
  const { code, err } = await run(['ls', `oci:${layout.directory}:base`]);
  expect(code).toBe(3);
  expect(err).toContain('accel convert');
});

it('a layout of several tags wants to know which', async () => {
  const { code, err } = await run(['ls', `oci:${layout.directory}`]);
  expect(code).toBe(2);
  expect(err).toContain(FULL);
});
