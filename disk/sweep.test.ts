import { mkdir, readdir, symlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { withTempDirectory } from '../tests/support/tools.ts';
import { ownIdentity, type ProcessIdentity, processMark } from './process-mark.ts';
import { sweepLeftovers } from './sweep.ts';

const DAY = 24 * 3600;
const self = ownIdentity();
const dead = { pid: 999_999_999, start: '1' };
const nameOf = (change: Partial<ProcessIdentity>) => `.accel-spool-${processMark({ ...self, ...change })}-abcDE9`;

/** A folder of a run with two files, all of it last changed `age` seconds ago. */
async function folder(directory: string, name: string, age = 0): Promise<void> {
  const path = join(directory, name);
  await mkdir(path);
  const time = Date.now() / 1000 - age;
  for (const file of ['0', '1']) {
    await writeFile(join(path, file), 'spooled');
    await utimes(join(path, file), time, time);
  }
  await utimes(path, time, time);
}

describe('the folder of a run', () => {
  it.each<[string, Partial<ProcessIdentity>, number, 'stays' | 'goes']>([
    ['of a process that is gone', dead, 0, 'goes'],
    ['of this process', {}, 100 * DAY, 'stays'],
    ['of another machine, a day old', { ...dead, host: 'ffffffff' }, DAY, 'stays'],
    ['of another machine, eight days old', { ...dead, host: 'ffffffff' }, 8 * DAY, 'goes'],
    ['of another container, a day old', { ...dead, namespace: '1' }, DAY, 'stays'],
    ['of another container, eight days old', { ...dead, namespace: '1' }, 8 * DAY, 'goes'],
    ['of an earlier boot, a day old', { boot: 'ffffffff' }, DAY, 'stays'],
    ['of an earlier boot, eight days old', { boot: 'ffffffff' }, 8 * DAY, 'goes'],
  ])('%s %s', async (_, owner, age, fate) => {
    await withTempDirectory(async (directory) => {
      await folder(directory, nameOf(owner), age);
      await sweepLeftovers(directory);
      expect(await readdir(directory)).toEqual(fate === 'stays' ? [nameOf(owner)] : []);
    });
  });

  it('of another machine stays as long as a file in it changes', async () => {
    await withTempDirectory(async (directory) => {
      const name = nameOf({ ...dead, host: 'ffffffff' });
      await folder(directory, name, 8 * DAY);
      const yesterday = Date.now() / 1000 - DAY;
      await utimes(join(directory, name, '1'), yesterday, yesterday);
      await sweepLeftovers(directory);
      expect(await readdir(directory)).toEqual([name]);
    });
  });

  it('keeps what accel did not put there', async () => {
    await withTempDirectory(async (directory) => {
      await folder(directory, nameOf(dead));
      await writeFile(join(directory, nameOf(dead), 'mine'), '');
      await sweepLeftovers(directory);
      expect(await readdir(join(directory, nameOf(dead)))).toEqual(['mine']);
    });
  });

  it('that is a link is not followed', async () => {
    await withTempDirectory(async (directory) => {
      await mkdir(join(directory, 'precious'));
      await writeFile(join(directory, 'precious', '0'), 'x');
      await mkdir(join(directory, 'swept'));
      await symlink(join(directory, 'precious'), join(directory, 'swept', nameOf(dead)));
      await sweepLeftovers(join(directory, 'swept'));
      expect(await readdir(join(directory, 'precious'))).toEqual(['0']);
    });
  });
});

it.each(['.accel-spool-abcdef', '.accel-spool-', '.accel-1-2.tmp', 'accel', `${processMark(self)}`])(
  '%s is not of a form that accel sweeps',
  async (name) => {
    await withTempDirectory(async (directory) => {
      await folder(directory, name, 100 * DAY);
      await sweepLeftovers(directory);
      expect(await readdir(directory)).toEqual([name]);
    });
  },
);

it('a directory that is not there is no failure', async () => {
  await expect(sweepLeftovers('/nonexistent/directory')).resolves.toBeUndefined();
});
