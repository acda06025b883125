/** A conversion that is interrupted: exit 130, no tag, no temporary file; the next run finishes. */
import { spawn } from 'node:child_process';
import { mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { makeLayer } from '../../bench/make-layer.ts';
import { ACCEL, convert, requireBuild } from '../support/accel.ts';
import { readTags } from '../support/oci-layout.ts';
import { withTempDirectory } from '../support/tools.ts';

test.each(['SIGINT', 'SIGTERM'] as const)('%s in the middle of a layer', async (signal) => {
  await requireBuild();
  await withTempDirectory(async (directory) => {
    const layout = await makeLayer(directory, 0.03);
    const index = await readFile(join(layout, 'index.json'), 'utf8');
    const before = (await readdir(layout)).sort();
    const scratch = join(directory, 'scratch');
    const args = ['convert', '-r', `oci:${layout}`, '-i', 'latest', '-o', 'obd', '-d', scratch];
    await mkdir(scratch);
    const child = spawn(process.execPath, [ACCEL, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    const ended = new Promise<number | null>((resolve) => child.on('close', (code) => resolve(code)));
    // Once its folder exists, the conversion is running.
    while ((await readdir(scratch)).length === 0) await new Promise((resolve) => setTimeout(resolve, 10));
    child.kill(signal);
    expect(await ended).toBe(130);
    expect(stderr).toContain('interrupted');
    expect(await readdir(scratch)).toEqual([]);
    expect(await readFile(join(layout, 'index.json'), 'utf8')).toBe(index);
    expect((await readdir(layout)).sort()).toEqual(before);
    await convert(['-r', `oci:${layout}`, '-i', 'latest', '-o', 'obd']);
    expect((await readTags(layout)).has('obd')).toBe(true);
  });
});

test('SIGKILL in the middle of a layer: its folder goes at the next run, that of a run under way stays', async () => {
  await withTempDirectory(async (directory) => {
    const layout = await makeLayer(directory, 0.03);
    const scratch = join(directory, 'scratch');
    await mkdir(scratch);
    const start = async (known: readonly string[]) => {
      const args = ['convert', '-r', `oci:${layout}`, '-i', 'latest', '-o', 'obd', '-d', scratch];
      const child = spawn(process.execPath, [ACCEL, ...args], { stdio: 'ignore' });
      const ended = new Promise((resolve) => child.on('close', resolve));
      for (;;) {
        const folder = (await readdir(scratch)).find((name) => !known.includes(name));
        if (folder !== undefined) return { child, ended, folder };
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    };
    const killed = await start([]);
    killed.child.kill('SIGKILL');
    await killed.ended;
    expect(await readdir(scratch)).toEqual([killed.folder]);
    // Stopped, so that it is surely under way while the next ones run.
    const stopped = await start([killed.folder]);
    stopped.child.kill('SIGSTOP');
    expect(await readdir(scratch)).toEqual([stopped.folder]);
    await convert(['-r', `oci:${layout}`, '-i', 'latest', '-o', 'other', '-d', scratch]);
    expect(await readdir(scratch)).toEqual([stopped.folder]);
    stopped.child.kill('SIGCONT');
    await stopped.ended;
    expect(stopped.child.exitCode).toBe(0);
    expect(await readdir(scratch)).toEqual([]);
    expect((await readTags(layout)).has('obd')).toBe(true);
  });
});
