import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { run, withTempDirectory } from './tools.ts';

/** Runs vitest on one file with these setup files, in a temporary directory of its own. */
async function runOn(directory: string, source: string, setupFiles: readonly string[]): Promise<string> {
  const support = import.meta.dirname;
  const root = join(directory, 'root');
  await mkdir(root, { recursive: true });
  await writeFile(join(root, 'one.test.ts'), source);
  const config = {
    test: {
      include: ['one.test.ts'],
      pool: 'forks',
      globalSetup: [join(support, 'run-directory.ts')],
      setupFiles: setupFiles.map((name) => join(support, name)),
    },
  };
  await writeFile(join(root, 'vitest.config.mjs'), `export default ${JSON.stringify(config)};`);
  const vitest = join(support, '../../node_modules/vitest/vitest.mjs');
  const { exitCode, stderr } = await run(process.execPath, [vitest, 'run', '--root', root], {
    accept: 'any',
    env: { TMPDIR: directory, NODE_PATH: undefined },
  });
  return `${exitCode} ${/tests left .*/.exec(stderr)?.[0] ?? stderr}`.trim();
}

/** A test that ends while something that it started has a directory. */
const UNFINISHED = `
import { test } from ${JSON.stringify(import.meta.resolve('vitest'))};
import { withTempDirectory } from ${JSON.stringify(join(import.meta.dirname, 'tools.ts'))};
test('ends first', () => new Promise((done) => {
  void withTempDirectory(() => new Promise((never) => { done(); setInterval(never, 60_000); }));
}));
`;

test('a run fails by what its tests leave, and says what', async () => {
  await withTempDirectory(async (directory) => {
    expect(await runOn(directory, UNFINISHED, [])).toMatch(
      /^1 tests left 1 in the temporary directory: accel-test-\w+$/,
    );
  });
});

test('what is under way when the process is ended does not stay', async () => {
  await withTempDirectory(async (directory) => {
    expect(await runOn(directory, UNFINISHED, ['end-of-worker.ts'])).toBe('0');
  });
});
