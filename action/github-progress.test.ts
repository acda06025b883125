import { expect, it } from 'vitest';
import { captured, sampleEvents } from '../cli/testing/sample.ts';
import { readCommand } from '../tests/support/runner.ts';
import { createGithubProgress } from './github-progress.ts';
import { Runner } from './workflow-commands.ts';

function shown(body: (progress: ReturnType<typeof createGithubProgress>) => void): string[] {
  const output = captured();
  const progress = createGithubProgress(new Runner(output, {}));
  body(progress);
  progress.stop();
  return output.text.trimEnd().split('\n');
}

it('reports each step in a line, and warnings as annotations', () => {
  const lines = shown(({ onEvent }) => sampleEvents().forEach(onEvent));
  expect(lines.flatMap((line) => readCommand(line) ?? [])).toEqual([
    {
      name: 'warning',
      properties: { title: 'accel' },
      data: 'linux/amd64 layer 1/2 111111111111: left out (café\\x07)',
    },
  ]);
  expect(lines).toContain(
    'tagged 1_accelerated sha256:eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee',
  );
});

it('makes ten annotations at most, and keeps every warning', () => {
  const lines = shown(({ onEvent }) => {
    for (let count = 0; count < 12; count++) onEvent({ type: 'warning', message: `number ${count}` });
  });
  expect(lines.filter((line) => line.startsWith('::warning'))).toHaveLength(10);
  expect(lines.slice(10)).toEqual(['warning: number 10', 'warning: number 11']);
});

it('says once what every opening of a registry says again', () => {
  expect(shown(({ warn }) => ['a', 'b', 'a'].forEach(warn))).toHaveLength(2);
});
