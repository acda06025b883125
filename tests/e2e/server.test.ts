/** `accel serve` and `accel agent` of this clone, on a Node that is new enough and on the one that is not. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { fetchServerNode, SERVER_NODE_MAJOR, serverNode } from '../../scripts/server-node.ts';
import { run, withTempDirectory } from '../support/tools.ts';

const CLI = join(import.meta.dirname, '../../dist/program/main.js');
const running = Number.parseInt(process.versions.node, 10);

describe('on a Node that the server runs on', () => {
  beforeAll(() => fetchServerNode());
  const accel = (args: readonly string[]) => run(serverNode(), [CLI, ...args], { accept: 'any' });

  it.each([
    ['serve', '--help'],
    ['agent', '--help'],
    ['agent', 'run', '--help'],
  ])('%s %s prints help', async (...args) => {
    const { exitCode, stdout, stderr } = await accel(args);
    expect([exitCode, stderr]).toEqual([0, '']);
    expect(stdout.toString('utf8')).toContain(`Usage: accel ${args.filter((arg) => arg !== '--help').join(' ')} `);
  });

  it('checks a configuration', () =>
    withTempDirectory(async (folder) => {
      const path = join(folder, 'accel.yaml');
      await writeFile(path, 'service:\n  lisen: 127.0.0.1:8686\n');
      const wrong = await accel(['serve', '-c', path, '--check']);
      expect(wrong.exitCode).toBe(2);
      expect(wrong.stderr).toContain('unknown key "lisen" in "service"; did you mean "listen"?');
      expect(wrong.stderr).toMatch(/^ {2}line +2$/m);
      await writeFile(path, 'service:\n  listen: 127.0.0.1:8686\n');
      expect((await accel(['agent', 'run', '-c', path, '--check'])).exitCode).toBe(0);
    }));

  it('says which rule an image meets', () =>
    withTempDirectory(async (folder) => {
      const path = join(folder, 'accel.yaml');
      const rules = [
        '{ repositories: [r.io/team/*], tags: { exclude: ["pr-*"] } }',
        '{ repositories: ["r.io/**"], mode: index-only }',
      ];
      await writeFile(path, `rules: [${rules.join(', ')}]\n`);
      const check = async (...args: string[]) =>
        (await accel(['serve', 'check', ...args, '-c', path])).stdout.toString('utf8');
      expect(await check('r.io/team/app:pr-7')).toBe(
        [
          'r.io/team/app:pr-7 is converted by rule 2: mode index-only, verify off',
          '  rule 1 leaves its tag out (pr-*)',
          '  rule 2 covers it (r.io/**)',
          '',
        ].join('\n'),
      );
      expect(await check('other.io/app')).toContain('other.io/app:latest is covered by no rule\n');
      expect(JSON.parse(await check('r.io/team/app', '--json'))).toMatchObject({
        formatVersion: 1,
        image: 'r.io/team/app:latest',
        rule: { number: 1, options: { mode: 'full' } },
        verdicts: [{ rule: 1, outcome: 'covers', pattern: 'r.io/team/*' }],
      });
      await writeFile(path, 'rules: [{ repositories: [team/*] }]\n');
      const wrong = await accel(['serve', '-c', path, '--check']);
      expect([wrong.exitCode, wrong.stderr]).toEqual([
        2,
        expect.stringContaining('begins with the host of its registry'),
      ]);
    }));
});

it.runIf(running < SERVER_NODE_MAJOR)('under an older Node it names the one that it needs', async () => {
  const { exitCode, stdout, stderr } = await run(process.execPath, [CLI, 'serve', '--help'], { accept: 'any' });
  expect([exitCode, stdout.toString('utf8')]).toEqual([2, '']);
  expect(stderr).toContain(`expected  Node ${SERVER_NODE_MAJOR} or newer`);
});
