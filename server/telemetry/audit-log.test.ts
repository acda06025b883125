import { execFile } from 'node:child_process';
import { mkdir, open as openFile, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { withTempDirectory } from '../../tests/support/tools.ts';
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
