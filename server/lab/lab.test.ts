/** A small lab with real containerds: three nodes pull together, and one agent is killed in the middle. Needs root and Linux. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { describeWith, run } from '../../tests/support/tools.ts';

const LAB = join(import.meta.dirname, '../../dist/server/lab/main.js');
/** As scripts and .ci/run name it. */
const CACHE =
  process.env.ACCEL_CACHE ?? join(process.env.XDG_CACHE_HOME ?? join(process.env.HOME ?? '', '.cache'), 'accel');
const BUILT = join(CACHE, 'tools/containerd-2.4.2');
const TOOLS = ['ip', 'tc', 'nsenter', 'curl', 'skopeo', 'docker-registry', 'containerd', 'ctr'];

interface Result {
  readonly registryBytes: number;
  readonly imageBytes: number;
  readonly failed: number;
}

async function lab(...args: string[]): Promise<Result> {
  const { stdout } = await run(process.execPath, [LAB, '--json', ...args]);
  return JSON.parse(stdout.toString('utf8').trim().split('\n').at(-1)!) as Result;
}

describeWith({ tools: TOOLS, root: true }, 'the lab', () => {
  const small = ['--nodes', '3', '--uplink', '50mbit', '--image', '12x3'];

  it('containerd of the system pulls through agents, and the registry sends the image once', {
    timeout: 120_000,
  }, async () => {
    const { failed, registryBytes, imageBytes } = await lab(...small, '--containerd', '/usr/bin');
    expect(failed).toBe(0);
    expect(registryBytes / imageBytes).toBeLessThan(1.2);
  });

  it.runIf(existsSync(join(BUILT, 'ctr')))('containerd 2 does as well', async () => {
    const { failed, registryBytes, imageBytes } = await lab(...small, '--containerd', BUILT);
    expect(failed).toBe(0);
    expect(registryBytes / imageBytes).toBeLessThan(1.2);
  });

  it('no pull fails when an agent is killed in the middle', async () => {
    const { failed } = await lab(...small, '--containerd', '/usr/bin', '--kill-agent', '2');
    expect(failed).toBe(0);
  });

  it('no node leaves anything behind', async () => {
    const { stdout } = await run('ip', ['netns', 'list']);
    expect(stdout.toString('utf8')).not.toContain('accel-lab');
  });
});
