/** The gate of everything that GitHub runs: action.yml, the workflows, the examples in docs/action.md and docs/ghcr.md. Exit 1 with a list. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { projectRoot } from './project-root.ts';
import { listFiles } from './source-files.ts';
import { actionProblems, workflowProblems, workflowsOf } from './workflow-checks.ts';

const root = projectRoot(import.meta.url);
const file = (path: string) => ({ path, text: readFileSync(join(root, path), 'utf8') });
const action = file('action.yml');
const { inputs, outputs } = parse(action.text) as Record<'inputs' | 'outputs', Record<string, unknown>>;
const declared = { inputs: Object.keys(inputs), outputs: Object.keys(outputs) };
const workflows = [
  ...listFiles(root, ['.github/workflows'], ['.yml']),
  ...workflowsOf(file('docs/action.md')),
  ...workflowsOf(file('docs/ghcr.md')),
];

const problems = await actionProblems(action);
for (const workflow of workflows) problems.push(...(await workflowProblems(workflow, declared)));
for (const problem of problems) process.stderr.write(`${problem}\n`);
console.log(`action.yml and ${workflows.length} workflows read, ${problems.length} problems`);
if (problems.length > 0) process.exitCode = 1;
