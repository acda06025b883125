/** The unit of the service, as systemd itself reads it. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { describeWith, run, withTempDirectory } from '../../tests/support/tools.ts';

const UNIT = join(import.meta.dirname, '../../packaging/systemd/accel-serve.service');

describeWith({ tools: ['systemd-analyze'] }, 'accel-serve.service', () => {
  it('is valid, and exposes little', async () => {
    await withTempDirectory(async (folder) => {
      const text = await readFile(UNIT, 'utf8');
      expect(text).toContain('\nExecStart=accel serve -c /etc/accel/serve.yaml\n');
      // accel may not be installed on this machine.
      const path = join(folder, 'accel-serve.service');
      await writeFile(path, text.replace('ExecStart=accel', 'ExecStart=/bin/true'));
      const { stdout, stderr } = await run('systemd-analyze', ['verify', '--man=no', path]);
      expect(`${stdout.toString('utf8')}${stderr}`).not.toContain('accel-serve.service:');
      const security = await run('systemd-analyze', ['security', '--offline=true', path], { accept: 'any' });
      expect(Number(/exposure level .*: ([\d.]+)/.exec(security.stdout.toString('utf8'))?.[1])).toBeLessThan(2);
    });
  });
});
