/** The workflows and action metadata pass their checks, and the checks find mistakes. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readAction } from '../tests/support/runner.ts';
import { ACTION_DOCS_PATH, withActionTables } from './action-docs.ts';
import { listFiles } from './source-files.ts';
import { actionProblems, workflowProblems, workflowsOf } from './workflow-checks.ts';

const root = join(import.meta.dirname, '..');
const file = (path: string) => ({ path, text: readFileSync(join(root, path), 'utf8') });
const { inputs, outputs } = await readAction();
const declared = { inputs: Object.keys(inputs), outputs: Object.keys(outputs) };
const examples = workflowsOf(file(ACTION_DOCS_PATH));

describe('the examples of this project', () => {
  it.each([...examples, ...workflowsOf(file('docs/ghcr.md'))])('the example at $path', async (example) =>
    expect(await workflowProblems(example, declared)).toEqual([]),
  );

  it.each(listFiles(root, ['.github/workflows'], ['.yml']))('$path', async (workflow) =>
    expect(await workflowProblems(workflow, declared)).toEqual([]),
  );

  it('action.yml', async () => expect(await actionProblems(file('action.yml'))).toEqual([]));

  it('every case that the page promises has its example', () => {
    const page = file(ACTION_DOCS_PATH).text;
    const section = page.slice(page.indexOf('## Examples'), page.indexOf('## What it can'));
    expect(section.match(/^### /gm)).toHaveLength(examples.length);
    expect(examples).toHaveLength(5);
  });

  it('the tables of the page are those of action.yml', () => {
    const { text } = file(ACTION_DOCS_PATH);
    expect(withActionTables(text, file('action.yml').text)).toBe(text);
  });
});

describe('a workflow is refused', () => {
  const good = examples.find(({ text }) => text.includes('registry_package'))!;

  it.each<[string, string, string, RegExp]>([
    ['with a mistyped key', 'runs-on:', 'run-on:', /run-on/],
    ['on an event that does not exist', 'registry_package:', 'registry_packages:', /registry_packages/],
    ['of a type that the event has not', '[published, updated]', '[pushed]', /pushed/],
    ['with a permission that does not exist', 'packages: write', 'packages: push', /push/],
    ['with an invalid expression', '.tag.name }}', '.tag.name | x }}', /Unexpected symbol/],
    ['with a context that does not exist', 'github.actor }}', 'guthub.actor }}', /guthub/],
    ['that is no YAML', 'jobs:', 'jobs: [', /./],
    ['with an action that is not pinned', /@[0-9a-f]{40} # v4.1.0/.exec(good.text)![0], '@v4', /not pinned/],
    ['with a pin that does not say its version', ' # v4.1.0', '', /not pinned/],
    ['with an input that we do not have', 'accel@v1', 'accel@v1\n        with:\n          tags: x', /no input tags/],
    [
      'with an output that we do not have',
      'accel@v1',
      `accel@v1\n        id: a\n      - run: echo $\{{ steps.a.outputs.digests }}`,
      /no output digests/,
    ],
  ])('%s', async (_, from, to, expected) => {
    expect(good.text).toContain(from);
    const problems = await workflowProblems({ path: 'x.yml', text: good.text.replace(from, () => to) }, declared);
    expect(problems.join('\n')).toMatch(expected);
  });

  it.each([
    ['using: node24', 'using: node99'],
    ['  main: dist/action.mjs', '  man: dist/action.mjs'],
    ['icon: fast-forward', 'icon: no-such-icon'],
  ])('and so is an action with %s as %s', async (from, to) => {
    const { text } = file('action.yml');
    expect(text).toContain(from);
    expect(await actionProblems({ path: 'action.yml', text: text.replace(from, to) })).not.toEqual([]);
  });
});
