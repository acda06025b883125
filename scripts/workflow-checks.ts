/**
 * Checks workflows (those of .github and the examples of the documentation) and action.yml: by GitHub's own parser, and
 * for what it leaves alone: that actions are pinned, and that steps of our Action name inputs and outputs that it has.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'esbuild';
import { parse } from 'yaml';
import { projectRoot } from './project-root.ts';
import type { SourceFile } from './source-files.ts';

/** The part of GitHub's parser that is used here. */
type Parser = typeof import('@actions/workflow-parser') &
  typeof import('@actions/workflow-parser/actions/action-parser');

/** The Action's name in the documentation. */
export const OUR_ACTION = 'OWNER/accel@v1';

/** Names that action.yml declares. */
export interface DeclaredNames {
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
}

let loading: Promise<Parser> | undefined;

/** GitHub's parser imports JSON as bundlers take it and Node does not: so it is bundled first. */
function loadParser(): Promise<Parser> {
  loading ??= bundleParser();
  return loading;
}

async function bundleParser(): Promise<Parser> {
  const names = ['@actions/workflow-parser', '@actions/workflow-parser/actions/action-parser'];
  const directory = await mkdtemp(join(tmpdir(), 'accel-workflows-'));
  try {
    const outfile = join(directory, 'parser.cjs');
    const contents = names.map((name) => `export * from '${name}';`).join('');
    const stdin = { contents, resolveDir: projectRoot(import.meta.url) };
    await build({ stdin, outfile, bundle: true, platform: 'node', format: 'cjs' });
    return createRequire(import.meta.url)(outfile) as Parser;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** Lists the problems of a workflow, a line each. */
export async function workflowProblems({ path, text }: SourceFile, declared: DeclaredNames): Promise<string[]> {
  const { parseWorkflow, convertWorkflowTemplate, NoOperationTraceWriter } = await loadParser();
  const { context, value } = parseWorkflow({ name: path, content: text }, new NoOperationTraceWriter());
  const found = context.errors.getErrors().map((error) => error.message);
  if (value !== undefined) {
    const { errors = [] } = await convertWorkflowTemplate(context, value);
    found.push(...errors.map((error) => error.Message));
  }
  if (found.length > 0)
    return [...new Set(found)].map((message) => (message.startsWith(path) ? message : `${path}: ${message}`));
  return stepProblems(text, declared).map((message) => `${path}: ${message}`);
}

/** Lists the problems of an action's metadata, a line each. */
export async function actionProblems({ path, text }: SourceFile): Promise<string[]> {
  const { parseAction, NoOperationTraceWriter } = await loadParser();
  const { context } = parseAction({ name: path, content: text }, new NoOperationTraceWriter());
  return [...new Set(context.errors.getErrors().map((error) => error.message))];
}

interface Step {
  readonly id?: string;
  readonly uses?: string;
  readonly with?: Readonly<Record<string, unknown>>;
}

function stepProblems(text: string, { inputs, outputs }: DeclaredNames): string[] {
  const { jobs } = parse(text) as { jobs: Record<string, { steps?: readonly Step[]; uses?: string }> };
  const steps = Object.values(jobs).flatMap((job) => job.steps ?? []);
  const problems: string[] = [];
  for (const { uses, with: given = {} } of steps) {
    if (uses === undefined || uses === './') continue;
    if (uses !== OUR_ACTION) {
      const isPinned =
        new RegExp(`uses: ${uses.replace(/[/.]/g, '\\$&')} # v\\d`).test(text) && /@[0-9a-f]{40}$/.test(uses);
      if (!isPinned) problems.push(`${uses} is not pinned by a SHA followed by a comment with its version`);
      continue;
    }
    for (const name of Object.keys(given))
      if (!inputs.includes(name)) problems.push(`${OUR_ACTION} has no input ${name}`);
  }
  for (const { id } of steps.filter(({ uses }) => uses === OUR_ACTION)) {
    if (id === undefined) continue;
    for (const [, name = ''] of text.matchAll(new RegExp(`steps\\.${id}\\.outputs\\.([\\w-]+)`, 'g')))
      if (!outputs.includes(name)) problems.push(`${OUR_ACTION} has no output ${name}`);
  }
  return problems;
}

/** The complete workflows among the code blocks of a Markdown page. */
export function workflowsOf({ path, text }: SourceFile): SourceFile[] {
  return [...text.matchAll(/^```yaml\n([\s\S]*?)^```$/gm)].flatMap((match) => {
    const block = match[1] ?? '';
    const line = text.slice(0, match.index).split('\n').length;
    return /^jobs:/m.test(block) ? [{ path: `${path}:${line}`, text: block }] : [];
  });
}
