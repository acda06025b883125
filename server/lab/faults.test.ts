/** The quick ones among the lab's faults: no pull fails. `npm run lab:faults` judges how long they take. Needs root and Linux. */
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { describeWith, run } from '../../tests/support/tools.ts';

const FAULTS = join(import.meta.dirname, '../../dist/server/lab/faults-main.js');
const TOOLS = ['ip', 'tc', 'nsenter', 'curl', 'skopeo', 'docker-registry', 'containerd', 'ctr'];

describeWith({ tools: TOOLS, root: true }, 'the lab of faults', () => {
  it('is survived by every pull, and leaves nothing behind', { timeout: 240_000 }, async () => {
    // Exit code 1 is also that of pulls that took too long, which a busy machine does.
    const args = [FAULTS, '--cheap', '--json', '--containerd', '/usr/bin'];
    const { stdout } = await run(process.execPath, args, { accept: [0, 1] });
    const rows = stdout.toString('utf8').trim().split('\n');
    expect(rows.length, rows.join('\n')).toBeGreaterThanOrEqual(5);
    for (const row of rows) expect(JSON.parse(row)).toMatchObject({ agents: { failed: 0 } });
    const namespaces = await run('ip', ['netns', 'list']);
    expect(namespaces.stdout.toString('utf8')).not.toContain('accel-faults');
  });
});
