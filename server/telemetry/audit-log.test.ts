import { execFile } from 'node:child_process';
import { mkdir, open as openFile, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { describeWith, run, withTempDirectory } from '../../tests/support/tools.ts';
import { type AuditEntry, AuditLog } from './audit-log.ts';

const ENTRY: AuditEntry = {
  operation: 'http:pread',
  pathname: '/https://r.example/v2/a/blobs/sha256:dd',
  offset: 127_467_520,
  size: 65_536,
  latency: 21.4,
};

interface Events {
  dropped: number;
  readonly problems: string[];
}

function openLog(path: string, { rotateAt = 1e9, keep = 2 } = {}): { log: AuditLog; events: Events } {
  const events: Events = { dropped: 0, problems: [] };
  const log = new AuditLog(
    { mode: 'file', path, rotateAt, keep },
    {
      onDropped: (lines) => {
        events.dropped += lines;
      },
      onProblem: ({ message }) => void events.problems.push(message),
    },
  );
  return { log, events };
}

describe('the audit log', () => {
  it('has lines in the form of the seed', () =>
    withTempDirectory(async (folder) => {
      const { log, events } = openLog(join(folder, 'a/b/audit.log'));
      log.note(ENTRY);
      log.note({ ...ENTRY, operation: 'download', size: -1 });
      await log.close();
      const lines = (await readFile(join(folder, 'a/b/audit.log'), 'utf8')).split('\n');
      const at = /^\d{4}\/\d\d\/\d\d \d\d:\d\d:\d\d\|AUDIT\|th=[0-9A-F]{16}\|/;
      for (const line of lines.slice(0, 2)) expect(line).toMatch(at);
      expect(lines.map((line) => line.replace(at, ''))).toEqual([
        'http:pread[pathname=/https://r.example/v2/a/blobs/sha256:dd][offset=127467520][size=65536][latency=21]',
        'download[pathname=/https://r.example/v2/a/blobs/sha256:dd][offset=127467520][size=-1][latency=21]',
        '',
      ]);
      expect(events).toEqual({ dropped: 0, problems: [] });
    }));

  it.each([
    ['a]b[c|d', 'a%5Db%5Bc%7Cd'],
    ['line\nfeed\r\0', 'line%0Afeed%0D%00'],
    ['a b', 'a%20b'],
    ['\u00e9\u{1f600}\u2028', '%C3%A9%F0%9F%98%80%E2%80%A8'],
    ['ends[size=1]', 'ends%5Bsize=1%5D'],
  ])('escapes %j', (pathname, escaped) =>
    withTempDirectory(async (folder) => {
      const { log } = openLog(join(folder, 'audit.log'));
      log.note({ ...ENTRY, pathname });
      await log.close();
      const text = await readFile(join(folder, 'audit.log'), 'utf8');
      expect(text).toContain(`[pathname=${escaped}][offset=`);
      expect(text.match(/\n/g)).toHaveLength(1);
    }),
  );

  it('begins another file at a size, and keeps a bounded number', () =>
    withTempDirectory(async (folder) => {
      const path = join(folder, 'audit.log');
      const { log, events } = openLog(path, { rotateAt: 400, keep: 2 });
      for (let turn = 0; turn < 10; turn++) {
        log.note({ ...ENTRY, offset: turn });
        await log.close();
      }
      expect((await readdir(folder)).sort()).toEqual(['audit.log', 'audit.log.1', 'audit.log.2']);
      const offsets = async (name: string) =>
        [...(await readFile(join(folder, name), 'utf8')).matchAll(/offset=(\d+)/g)].map(([, offset]) => Number(offset));
      // Each file has two lines; the oldest are gone.
      expect([await offsets('audit.log.2'), await offsets('audit.log.1'), await offsets('audit.log')]).toEqual([
        [4, 5],
        [6, 7],
        [8, 9],
      ]);
      expect(events.dropped).toBe(0);
    }));

  it('goes on in another file where its own was taken away', () =>
    withTempDirectory(async (folder) => {
      const path = join(folder, 'audit.log');
      const { log } = openLog(path);
      log.note(ENTRY);
      await log.flushed();
      await rename(path, `${path}.moved`);
      log.note(ENTRY);
      await log.close();
      expect((await stat(path)).size).toBe((await stat(`${path}.moved`)).size);
    }));

  it('drops and counts lines where it cannot be written, says so once, and recovers', () =>
    withTempDirectory(async (folder) => {
      const path = join(folder, 'sub', 'audit.log');
      await mkdir(path, { recursive: true });
      const { log, events } = openLog(path);
      log.note(ENTRY);
      await log.flushed();
      log.note(ENTRY);
      log.note(ENTRY);
      await log.flushed();
      expect(events.dropped).toBe(3);
      expect(events.problems).toEqual([expect.stringContaining('EISDIR')]);
      await rm(path, { recursive: true });
      log.note(ENTRY);
      await log.close();
      expect((await readFile(path, 'utf8')).split('\n')).toHaveLength(2);
      expect(events.dropped).toBe(3);
    }));

  it.each([
    [0o022, '640'],
    [0o077, '600'],
  ])('with a umask of %s its file has the mode %s, and so have the renamed ones', (umask, mode) =>
    withTempDirectory(async (folder) => {
      const before = process.umask(umask);
      try {
        const { log } = openLog(join(folder, 'new/audit.log'), { rotateAt: 150 });
        for (let turn = 0; turn < 2; turn++) {
          log.note(ENTRY);
          await log.close();
        }
      } finally {
        process.umask(before);
      }
      for (const name of ['audit.log', 'audit.log.1'])
        expect(((await stat(join(folder, 'new', name))).mode & 0o777).toString(8)).toBe(mode);
      expect((await stat(join(folder, 'new'))).mode & 0o027).toBe(0);
    }),
  );

  it('two processes write whole lines to one file, of which each renames some', () =>
    withTempDirectory(async (folder) => {
      const path = join(folder, 'audit.log');
      const logs = [1, 2].map(() => openLog(path, { rotateAt: 2_000, keep: 100 }));
      for (let turn = 0; turn < 100; turn++) {
        for (const { log } of logs) log.note({ ...ENTRY, offset: turn });
        await Promise.all(logs.map(({ log }) => log.flushed()));
      }
      await Promise.all(logs.map(({ log }) => log.close()));
      const names = await readdir(folder);
      const texts = await Promise.all(names.map((name) => readFile(join(folder, name), 'utf8')));
      const lines = texts.flatMap((text) => text.split('\n').slice(0, -1));
      expect(lines.filter((line) => !/^\d{4}.*\[latency=21\]$/.test(line))).toEqual([]);
      expect(lines).toHaveLength(200);
      for (const text of texts) expect(text.length).toBeLessThan(2_000 + 2 * 150);
      expect(logs.map(({ events }) => events)).toEqual([
        { dropped: 0, problems: [] },
        { dropped: 0, problems: [] },
      ]);
    }));

  it('drops lines where its output takes nothing, and no caller waits', () =>
    withTempDirectory(async (folder) => {
      const fifo = join(folder, 'audit.log');
      await promisify(execFile)('mkfifo', [fifo]);
      const { log, events } = openLog(fifo);
      // A pipe that nobody reads: opening it waits for ever, in a thread of Node's pool.
      for (let line = 0; line < 20_000; line++) log.note(ENTRY);
      expect(events.dropped).toBeGreaterThan(10_000);
      await log.close(50);
      // Lets the thread go, or the process could not end.
      await (await openFile(fifo, 'r+')).close();
    }));
});

describeWith({ tools: ['mount', 'umount'], root: true }, 'the audit log on a full disk', () => {
  it('drops and counts what does not fit, ends the line that was cut, and goes on once there is room', () =>
    withTempDirectory(async (folder) => {
      await run('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'none', folder]);
      try {
        const path = join(folder, 'audit.log');
        const { log, events } = openLog(path);
        const noted = 600;
        for (let line = 0; line < noted; line++) log.note({ ...ENTRY, offset: line });
        await log.flushed();
        expect(events.problems).toEqual([expect.stringContaining('ENOSPC')]);
        const full = await readFile(path, 'utf8');
        expect(full.endsWith('\n')).toBe(false);
        expect(events.dropped).toBe(noted - full.split('\n').length + 1);
        await run('mount', ['-o', 'remount,size=1m', folder]);
        log.note({ ...ENTRY, offset: 7777 });
        await log.close();
        const lines = (await readFile(path, 'utf8')).split('\n');
        expect(lines.slice(0, -2).join('\n')).toBe(full);
        expect(lines.at(-2)).toMatch(/^\d{4}\/.*\[offset=7777\].*\[latency=21\]$/);
        expect(lines.at(-1)).toBe('');
        expect(events.problems).toHaveLength(1);
      } finally {
        await run('umount', [folder]);
      }
    }));
});
