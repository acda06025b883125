/** The pipelines of docs/ci.md, judged by those who read them: the API server of Kubernetes, and the schema of GitLab. */
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { toolCache } from '../../scripts/node-of-npm.ts';
import { blocksOf } from '../../tests/docs/blocks.ts';
import { run, tempDirectory } from '../../tests/support/tools.ts';
import { describeWithCluster, startCluster, type TestCluster } from './testing/kube-cluster.ts';

const examples = blocksOf('docs/ci.md').map(({ lines }) => `${lines.join('\n')}\n`);
const exampleWith = (word: string): string => examples.find((text) => text.includes(word))!;

describeWithCluster('the CronJob', {}, () => {
  let cluster: TestCluster;
  beforeAll(async () => {
    cluster = await startCluster();
  });
  afterAll(() => cluster?.stop());

  const dryRun = (input: string): Promise<string> =>
    cluster.kubectl(['apply', '--dry-run=server', '--validate=strict', '-f', '-'], { input });

  it('is taken by the API server', async () => {
    expect(await dryRun(exampleWith('kind: CronJob'))).toContain('cronjob.batch/accelerate created (server dry run)');
    await expect(dryRun(exampleWith('kind: CronJob').replace('schedule:', 'shedule:'))).rejects.toThrow('shedule');
  });
});

const validator = join(toolCache(), 'tools/check-jsonschema-0.39.0/bin/check-jsonschema');
const skipped = !existsSync(validator) && process.env.CI === undefined;
describe.skipIf(skipped)(
  `the pipeline of GitLab${skipped ? ' (without check-jsonschema: .ci/run installs it)' : ''}`,
  () => {
    const judge = async (text: string) => {
      const scratch = await tempDirectory('accel-gitlab-');
      try {
        await writeFile(join(scratch.path, '.gitlab-ci.yml'), text);
        const args = ['--builtin-schema', 'vendor.gitlab-ci', '--data-transform', 'gitlab-ci'];
        return (await run(validator, [...args, join(scratch.path, '.gitlab-ci.yml')], { accept: 'any' })).exitCode;
      } finally {
        await scratch.remove();
      }
    };

    it('is one by the schema of GitLab', async () => {
      const text = exampleWith('CI_REGISTRY_IMAGE');
      expect(await judge(text)).toBe(0);
      expect(await judge(text.replace('exit_codes: [1]', 'exit_codes: one'))).toBe(1);
    });
  },
);
