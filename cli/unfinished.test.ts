import { spawnSync } from 'node:child_process';
import { expect, it } from 'vitest';

const MODULE = new URL('../dist/cli/unfinished.js', import.meta.url).href;

/** A program that guards itself and then does `rest`. */
function runGuarded(rest: string) {
  const script = `
    import { failUnlessFinished } from ${JSON.stringify(MODULE)};
    const finished = failUnlessFinished(process, process.stderr);
    ${rest}`;
  return spawnSync(process.execPath, ['--input-type=module', '--eval', script], { encoding: 'utf8' });
}

it('a promise that is never settled ends in a message and exit code 1', () => {
  const { status, stderr } = runGuarded('await new Promise(() => {});');
  expect(status).toBe(1);
  expect(stderr).toContain('[internal]');
});

it('a run that exits of itself says nothing of it', () => {
  expect(runGuarded('process.exit(130);')).toMatchObject({ status: 130, stderr: '' });
});

it('a run that came to its end keeps its exit code and says nothing', () => {
  const { status, stderr } = runGuarded('process.exitCode = 3; finished();');
  expect(status).toBe(3);
  expect(stderr).toBe('');
});
