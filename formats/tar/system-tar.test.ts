/** The system's tar and Python's tarfile are the judges: what they write we read, and what we read they list. */

import { execFileSync, type StdioOptions } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  closeSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type CollectedEntry, collectTar, contentOf } from '../../fixtures/collect-tar.ts';
import { TarBuilder } from '../../fixtures/tar-builder.ts';
import { describeWith, isRoot, requireTool } from '../../tests/support/tools.ts';

const CHUNKS = [1, 321, 4096, 1 << 20];
/** A warning of a tool on its standard error is not news. */
const QUIET = ['pipe', 'pipe', 'ignore'] as const satisfies StdioOptions;
const TYPE = { file: '-', link: 'h', symlink: 'l', character: 'c', block: 'b', directory: 'd', fifo: 'p' } as const;

/** The line that `tar -tv --full-time --numeric-owner` prints for an entry, with single spaces. */
function listing(entry: CollectedEntry): string {
  const letters = [...'rwxrwxrwx'].map((letter, i) => ((entry.mode >> (8 - i)) & 1 ? letter : '-'));
  for (const [bit, at, set] of [
    [0o4000, 2, 's'],
    [0o2000, 5, 's'],
    [0o1000, 8, 't'],
  ] as const) {
    if ((entry.mode & bit) !== 0) letters[at] = letters[at] === 'x' ? set : set.toUpperCase();
  }
  const isDevice = entry.type === 'character' || entry.type === 'block';
  const size = isDevice ? `${entry.devMajor},${entry.devMinor}` : entry.size;
  const fraction = String(entry.mtime.nanoseconds).padStart(9, '0').replace(/0+$/, '');
  const date = new Date(entry.mtime.seconds * 1000).toISOString().replace('T', ' ').slice(0, 19);
  const time = fraction === '' ? date : `${date}.${fraction}`;
  const target =
    entry.type === 'link' ? ` link to ${entry.linkName}` : entry.type === 'symlink' ? ` -> ${entry.linkName}` : '';
  return `${TYPE[entry.type]}${letters.join('')} ${entry.uid}/${entry.gid} ${size} ${time} ${entry.name}${target}`;
}

function systemListing(tar: Uint8Array): string[] {
  const args = ['--numeric-owner', '--full-time', '--quoting-style=literal', '-tvf', '-'];
  const out = execFileSync('tar', args, {
    input: tar,
    stdio: QUIET,
    env: { ...process.env, TZ: 'UTC', LC_ALL: 'C' },
    maxBuffer: 1 << 26,
  });
  return out
    .toString('latin1')
    .trimEnd()
    .split('\n')
    .map((line) => line.replace(/ +/g, ' '));
}

/**
 * A line without the time, if that is before 1970 and has a fraction: GNU tar 1.34 lists these one second late (a file of
 * 23:59:58.5 as 23:59:59.5). The files that it extracts are right, and a test below compares them.
 */
function comparable(line: string): string {
  return line.replace(/ 1(8|9[0-6])\S* \S+\.\d+ /, ' before 1970 ');
}

/** The entries with a hash for their data, which compares faster. */
function digests(entries: readonly CollectedEntry[]): unknown[] {
  return entries.map((entry) => ({ ...entry, data: createHash('sha256').update(entry.data).digest('hex') }));
}

/** Parses in every chunk size and holds the results against each other and against the system's listing. */
function judged(tar: Uint8Array): readonly CollectedEntry[] {
  const entries = collectTar(tar);
  for (const chunk of CHUNKS) expect(digests(collectTar(tar, chunk)), `chunks of ${chunk}`).toEqual(digests(entries));
  expect(systemListing(tar).map(comparable)).toEqual(entries.map(listing).map(comparable));
  return entries;
}

let tree = '';
const LONG = `${'d'.repeat(120)}/${'n'.repeat(150)}`;
const XATTRS = { 'user.plain': Buffer.from('text'), 'user.bytes': Buffer.from([0, 10, 61, 255, 0]) };

beforeAll(() => {
  tree = mkdtempSync(join(tmpdir(), 'accel-tar-'));
});
afterAll(() => rmSync(tree, { recursive: true, force: true }));

/** A small tree with everything that needs no privilege. */
function populate(): void {
  const at = (path: string) => join(tree, path);
  for (const dir of ['short', 'long', 'sparse', 'attributes', 'bytes']) mkdirSync(at(dir));
  writeFileSync(at('short/empty'), '');
  writeFileSync(at('short/block'), 'b'.repeat(512));
  writeFileSync(at('short/odd'), Buffer.from(Array.from({ length: 5001 }, (_, i) => i & 0xff)));
  chmodSync(at('short/odd'), 0o4751);
  mkdirSync(at('short/sticky'));
  chmodSync(at('short/sticky'), 0o1770);
  linkSync(at('short/odd'), at('short/hard'));
  symlinkSync('../x//./odd', at('short/symbolic'));
  execFileSync(requireTool('mkfifo'), [at('short/fifo')]);
  utimesSync(at('short/block'), 1_700_000_000, 1_600_000_000.25);
  utimesSync(at('short/empty'), 0, 0);
  mkdirSync(at(`long/${'d'.repeat(120)}`));
  writeFileSync(at(`long/${LONG}`), 'long name\n');
  symlinkSync(`${LONG}/${'t'.repeat(200)}`, at('long/symbolic'));
  linkSync(at(`long/${LONG}`), at('long/hard'));
  writeFileSync(Buffer.from(`${at('bytes')}/caf\xe9 \x7f`, 'latin1'), 'not UTF-8');
  for (const [name, runs] of [
    ['few', 3],
    ['many', 40],
  ] as const) {
    const file = openSync(at(`sparse/${name}`), 'w');
    for (let i = 0; i < runs; i++) writeSync(file, `run ${i}`.padEnd(100, '.'), 8192 * (2 * i + 1));
    closeSync(file);
    truncateSync(at(`sparse/${name}`), 8192 * (2 * runs + 3) + 5);
  }
  writeFileSync(at('sparse/hole'), '');
  truncateSync(at('sparse/hole'), 1 << 20);
  writeFileSync(at('attributes/file'), 'x');
  for (const [name, value] of Object.entries(XATTRS)) {
    execFileSync(requireTool('setfattr'), ['-n', name, '-v', `0x${value.toString('hex')}`, at('attributes/file')]);
  }
}

function gnuTar(args: readonly string[], ...paths: string[]): Uint8Array {
  return execFileSync('tar', ['--sort=name', ...args, '-cf', '-', '-C', tree, ...paths], { maxBuffer: 1 << 26 });
}

/** The content of every file of the archive is that of the file on disk. */
function expectContent(entries: readonly CollectedEntry[]): void {
  for (const entry of entries) {
    if (entry.type !== 'file') continue;
    const disk = readFileSync(Buffer.from(`${tree}/${entry.name}`, 'latin1'));
    expect(contentOf(entry).equals(disk), entry.name).toBe(true);
  }
}

describeWith({ tools: ['tar', 'mkfifo', 'setfattr'] }, 'GNU tar writes', () => {
  beforeAll(populate);
  for (const format of ['v7', 'oldgnu', 'gnu', 'ustar', 'posix']) {
    // V7 knows no fifos and warns of them.
    test(`--format=${format}`, () => {
      const entries = judged(gnuTar([`--format=${format}`, ...(format === 'v7' ? ['--exclude=fifo'] : [])], 'short'));
      expect(entries).toHaveLength(format === 'v7' ? 7 : 8);
      expectContent(entries);
    });
  }
  for (const format of ['oldgnu', 'gnu', 'posix']) {
    test(`long names and bytes, --format=${format}`, () => {
      const entries = judged(gnuTar([`--format=${format}`], 'long', 'bytes'));
      expect(entries.map((e) => e.name)).toContain(`long/${LONG}`);
      expect(entries.map((e) => e.name)).toContain('bytes/caf\xe9 \x7f');
      expectContent(entries);
    });
  }
  for (const args of [
    ['--format=gnu'],
    ['--format=oldgnu'],
    ['--format=posix', '--sparse-version=0.0'],
    ['--format=posix', '--sparse-version=0.1'],
    ['--format=posix', '--sparse-version=1.0'],
  ]) {
    test(`--sparse ${args.join(' ')}`, () => {
      const entries = judged(gnuTar(['--sparse', ...args], 'sparse'));
      const runs = Object.fromEntries(entries.map((e) => [e.name, e.sparse?.length]));
      expect(runs).toEqual({ 'sparse/': undefined, 'sparse/few': 3, 'sparse/hole': 0, 'sparse/many': 40 });
      expectContent(entries);
    });
  }
  test('--xattrs', () => {
    const entries = judged(gnuTar(['--format=posix', '--xattrs', '--xattrs-include=*'], 'attributes'));
    const xattrs = entries.find((e) => e.name === 'attributes/file')!.xattrs;
    for (const [name, value] of Object.entries(XATTRS)) expect(Buffer.from(xattrs.get(name)!)).toEqual(value);
  });
  for (const [name, args] of Object.entries({
    large_ids: ['--owner=:4000000000', '--group=:2097152'],
    time_before_1970: ['--mtime=1950-01-01 00:00:00.5 UTC'],
    time_past_2242: ['--mtime=2500-01-01 UTC'],
    volume_label: ['--label=a label'],
  })) {
    for (const format of ['gnu', 'posix']) {
      test(`${name}, --format=${format}`, () => {
        const tar = gnuTar([`--format=${format}`, ...args], 'short/block', 'short/symbolic');
        if (name === 'volume_label') expect(collectTar(tar)).toHaveLength(2);
        else judged(tar);
      });
    }
  }
  test('a global header counts for nothing here, unlike for GNU tar', () => {
    const tar = gnuTar(['--format=posix', '--pax-option=globexthdr.name=g,mtime=1.25,uid=77'], 'short/block');
    expect(collectTar(tar).map(({ uid, mtime }) => [uid === 77, mtime.seconds === 1])).toEqual([[false, false]]);
  });
  test('times before 1970, as they are extracted', () => {
    const times = ['-1.5', '-1', '-0.000000001', '-631151999.25'];
    const tar = new TarBuilder();
    for (const mtime of times) tar.file(`at${mtime}`, '', { mtime });
    mkdirSync(join(tree, 'times'));
    execFileSync('tar', ['-xf', '-', '-C', join(tree, 'times')], { input: tar.build(), stdio: QUIET });
    for (const entry of collectTar(tar.build())) {
      const found = execFileSync('stat', ['-c', '%.9Y', join(tree, 'times', entry.name)])
        .toString()
        .trim();
      const nanoseconds = BigInt(entry.mtime.seconds) * 1_000_000_000n + BigInt(entry.mtime.nanoseconds);
      const negated = (-nanoseconds).toString().padStart(10, '0');
      expect(`-${negated.slice(0, -9)}.${negated.slice(-9)}`).toBe(found);
    }
  });
  test('--incremental dump directories', () => {
    const entries = collectTar(gnuTar(['--format=gnu', '--incremental'], 'short'));
    expect(entries.filter((e) => e.type === 'directory').map((e) => e.name)).toEqual(['short/', 'short/sticky/']);
    expectContent(entries);
  });
});

const PYTHON = `
import io, sys, tarfile
t = tarfile.open(fileobj=sys.stdout.buffer, mode='w|', format=getattr(tarfile, sys.argv[1]))
def add(name, kind=tarfile.REGTYPE, data=b'', **fields):
    i = tarfile.TarInfo(name); i.type = kind; i.size = len(data); i.mtime = 1700000000
    for key, value in fields.items(): setattr(i, key, value)
    t.addfile(i, io.BytesIO(data))
add('plain', data=b'x' * 1000, mode=0o2755, uid=1, gid=2)
add('dir', tarfile.DIRTYPE, mode=0o755)
add('chr', tarfile.CHRTYPE, devmajor=4, devminor=300)
add('blk', tarfile.BLKTYPE, devmajor=7, devminor=0)
add('fifo', tarfile.FIFOTYPE)
add('sym', tarfile.SYMTYPE, linkname='../a//b')
add('hard', tarfile.LNKTYPE, linkname='plain')
add('prefix/' + 'p' * 90 + '/' + 'n' * 95, data=b'long')
if sys.argv[1] != 'USTAR_FORMAT':
    add('caf\\udce9' + 'l' * 300, data=b'bytes')
    add('ids', uid=3000000, gid=4294967295)
    add('to', tarfile.SYMTYPE, linkname='t' * 300)
if sys.argv[1] == 'PAX_FORMAT':
    add('frac', mtime=1234.5)
    add('old', mtime=-3.25)
    add('attrs', pax_headers={'SCHILY.xattr.user.a': 'b=c\\n\\udcff\\x00', 'hdrcharset': 'BINARY'})
t.close()
`;

describeWith({ tools: ['tar', 'python3'] }, 'Python tarfile writes', () => {
  for (const [format, count] of [
    ['USTAR_FORMAT', 8],
    ['GNU_FORMAT', 11],
    ['PAX_FORMAT', 14],
  ] as const) {
    test(format, () => {
      const entries = judged(execFileSync('python3', ['-c', PYTHON, format]));
      expect(entries).toHaveLength(count);
      expect(entries[0]!.data.toString()).toBe('x'.repeat(1000));
      const attributes = entries.find((e) => e.name === 'attrs')?.xattrs.get('user.a');
      if (format === 'PAX_FORMAT') expect(Buffer.from(attributes!)).toEqual(Buffer.from('b=c\n\xff\0', 'latin1'));
    });
  }
});

describeWith({ tools: ['tar'] }, 'the fixtures’ builder writes', () => {
  test('what GNU tar lists as we do', () => {
    const tar = new TarBuilder({ mtime: '1700000000.123456789' })
      .dir('./')
      .file('a', 'data', { uid: 4_000_000_000, gid: 3_000_000, mode: 0o6755, mtime: '-1.5' })
      .file(Buffer.from('\xe9'.repeat(120), 'latin1'), 'x', { xattrs: { 'user.a': Uint8Array.of(0, 10, 255) } })
      .symlink('s', 'x'.repeat(101))
      .link('l', 'a')
      .device('c', 'character', 1, 3)
      .fifo('p')
      .whiteout('dir/gone')
      .opaque('dir')
      .gnuLong('L', 'g'.repeat(200))
      .file('short', 'y', { mtime: '5' });
    expect(
      judged(tar.build())
        .map((e) => e.name)
        .slice(-3, -1),
    ).toEqual(['dir/.wh.gone', 'dir/.wh..wh..opq']);
  });
});

describeWith({ tools: ['tar', 'mknod'], root: true }, 'GNU tar writes, as root', () => {
  test('device nodes', () => {
    if (!isRoot()) return;
    execFileSync(requireTool('mknod'), [join(tree, 'node'), 'c', '4', '300']);
    for (const format of ['oldgnu', 'gnu', 'ustar', 'posix']) {
      expect(judged(gnuTar([`--format=${format}`], 'node'))[0]).toMatchObject({
        type: 'character',
        devMajor: 4,
        devMinor: 300,
      });
    }
  });
});
