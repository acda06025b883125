/** The unit of the agent, as systemd itself reads it. */
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { describeWith, run, withTempDirectory } from '../../../tests/support/tools.ts';

const UNITS = join(import.meta.dirname, '../../../packaging/systemd');
const UNIT = join(UNITS, 'accel-agent.service');

describeWith({ tools: ['systemd-analyze'] }, 'accel-agent.service', () => {
  it('is valid, and exposes little', async () => {
    await withTempDirectory(async (folder) => {
      const text = await readFile(UNIT, 'utf8');
      expect(text).toContain('\nExecStart=accel agent run -c /etc/accel/accel.yaml\n');
      // accel may not be installed on this machine.
      const path = join(folder, 'accel-agent.service');
      await writeFile(path, text.replace('ExecStart=accel', 'ExecStart=/bin/true'));
      const { stdout, stderr } = await run('systemd-analyze', ['verify', '--man=no', path]);
      expect(`${stdout.toString('utf8')}${stderr}`).not.toContain('accel-agent.service:');
      const security = await run('systemd-analyze', ['security', '--offline=true', path], { accept: 'any' });
      expect(Number(/exposure level .*: ([\d.]+)/.exec(security.stdout.toString('utf8'))?.[1])).toBeLessThan(2.5);
    });
  });

  it('comes with a socket and a service that are valid too', async () => {
    await withTempDirectory(async (folder) => {
      const names = await readdir(UNITS);
      expect(names).toEqual(expect.arrayContaining(['accel-agent.service', 'accel-agent.socket']));
      for (const name of names) {
        const text = await readFile(join(UNITS, name), 'utf8');
        await writeFile(join(folder, name), text.replace('ExecStart=accel', 'ExecStart=/bin/true'));
      }
      const paths = names.map((name) => join(folder, name));
      const { stdout, stderr } = await run('systemd-analyze', ['verify', '--man=no', ...paths], { accept: 'any' });
      // Complaints about other units of this machine are not ours.
      expect(`${stdout.toString('utf8')}${stderr}`.split('\n').filter((line) => /^\S*accel-/.test(line))).toEqual([]);
    });
  });
});
