/** A machine or container that gives too little memory: the message is about memory, not about a defect. */
import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { buildLayout } from '../../fixtures/image-builder.ts';
import { TarBuilder } from '../../fixtures/tar-builder.ts';
import { ACCEL, requireBuild } from '../support/accel.ts';
import { run, withTempDirectory } from '../support/tools.ts';

test.skipIf(process.platform !== 'linux').each([
  ['without threads', 1],
  ['with threads', 2 << 20],
])('ulimit -v: a layer that is converted %s', async (_, size) => {
  await requireBuild();
  await withTempDirectory(async (directory) => {
    await buildLayout(directory, 't', [{ tar: new TarBuilder().file('a', randomBytes(size)).build() }]);
    const script = 'ulimit -v 4000000; exec "$0" "$@"';
    const args = ['-c', script, process.execPath, ACCEL, 'convert', '-r', `oci:${directory}`, '-i', 't'];
    const { exitCode, stderr } = await run('sh', args, { accept: 'any', env: { NO_COLOR: '1' } });
    expect(stderr).toContain('error [limit-exceeded] this process may not have as much memory as it needs');
    expect(stderr).toContain('ulimit -v');
    expect(stderr).not.toContain('defect');
    expect(exitCode).toBe(3);
  });
});
