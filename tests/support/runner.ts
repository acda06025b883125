/** The runner's side of the Action, as GitHub documents it: reads commands and files back, and starts the bundle. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse } from 'yaml';
import { withTempDirectory } from './tools.ts';

const ROOT = join(import.meta.dirname, '../..');

/** A command of a log line. */
export interface RunnerCommand {
  readonly name: string;
  readonly properties: Readonly<Record<string, string>>;
  readonly data: string;
}

/** The command that the runner would find in a line of the log: `::name k=v::data`, or `##[name]data` anywhere in it. */
export function readCommand(line: string): RunnerCommand | undefined {
  const match =
    /^\s*::([^\s:]+)(?:\s([^:]*))?::(.*)$/s.exec(line) ?? /##\[([^\s\]]+)(?:\s([^\]]*))?\](.*)$/s.exec(line);
  if (match === null) return undefined;
  const [, name = '', properties = '', data = ''] = match;
  const pairs = properties.split(',').filter((pair) => pair.includes('='));
  return {
    name,
    properties: Object.fromEntries(
      pairs.map((pair) => [pair.slice(0, pair.indexOf('=')), decodeData(pair.slice(pair.indexOf('=') + 1))]),
    ),
    data: decodeData(data),
  };
}

function decodeData(text: string): string {
  const codes: Readonly<Record<string, string>> = { '%0D': '\r', '%0A': '\n', '%3A': ':', '%2C': ',', '%25': '%' };
  return text.replace(/%(0D|0A|3A|2C|25)/g, (code) => codes[code]!);
}

/** The outputs in a file of the runner; later ones win. Throws for what the runner would refuse. */
export function parseOutputFile(text: string): Record<string, string> {
  const outputs: Record<string, string> = {};
  const lines = text.split('\n');
  while (lines.length > 0) {
    const head = lines.shift()!;
    if (head === '') continue;
    const [, name, delimiter] = /^([^=<]+)<<(.+)$/.exec(head) ?? [];
    if (name === undefined || delimiter === undefined) throw new Error(`not an output: ${head}`);
    const end = lines.indexOf(delimiter);
    if (end < 0) throw new Error(`${name} does not end`);
    outputs[name] = lines.splice(0, end).join('\n');
    lines.shift();
  }
  return outputs;
}

/** action.yml, as far as tests look at it. */
export interface ActionMetadata {
  readonly inputs: Readonly<Record<string, { readonly description: string; readonly default?: string }>>;
  readonly outputs: Readonly<Record<string, { readonly description: string }>>;
  readonly runs: { readonly using: string; readonly main: string };
}

/** Reads action.yml. */
export async function readAction(): Promise<ActionMetadata> {
  return parse(await readFile(join(ROOT, 'action.yml'), 'utf8')) as ActionMetadata;
}

/** Options of a step. */
export interface StepOptions {
  /** The inputs of the step: its `with`. */
  readonly with?: Readonly<Record<string, string>>;
  /** Name of the event and its payload. */
  readonly event?: { readonly name: string; readonly payload: unknown };
  readonly env?: Readonly<Record<string, string>>;
  /** Docker's config file in the home directory, as docker/login-action leaves it. */
  readonly dockerConfig?: unknown;
  /** Called with the log so far as it grows, and a function that sends a signal. */
  readonly onLog?: (log: string, signal: (name: NodeJS.Signals) => void) => void;
}

/** The result of a step. */
export interface StepRun {
  readonly exitCode: number;
  readonly log: string;
  readonly commands: readonly RunnerCommand[];
  readonly outputs: Readonly<Record<string, string>>;
  readonly summary: string;
}

/** The Node that runs the bundle: ACCEL_ACTION_NODE, which CI sets to Node 24, else the one that runs the tests. */
export const ACTION_NODE: string = process.env.ACCEL_ACTION_NODE ?? process.execPath;

/** Runs what action.yml names as its main file, with the environment that the runner gives a step and no other. */
export async function runStep(options: StepOptions): Promise<StepRun> {
  const { inputs, runs } = await readAction();
  return withTempDirectory(async (directory) => {
    const at = (name: string): string => join(directory, name);
    const { event = { name: 'workflow_dispatch', payload: {} } } = options;
    await mkdir(at('workspace'));
    for (const file of ['output', 'summary']) await writeFile(at(file), '');
    await writeFile(at('event.json'), JSON.stringify(event.payload));
    if (options.dockerConfig !== undefined) {
      await mkdir(at('.docker'));
      await writeFile(at('.docker/config.json'), JSON.stringify(options.dockerConfig));
    }
    const given = options.with ?? {};
    const unknown = Object.keys(given).filter((name) => !(name in inputs));
    if (unknown.length > 0) throw new Error(`action.yml declares no ${unknown.join(', ')}`);
    // The runner passes every declared input, with its default or empty.
    const passed = Object.entries(inputs).map(([name, input]) => [
      `INPUT_${name.replaceAll(' ', '_').toUpperCase()}`,
      given[name] ?? input.default ?? '',
    ]);
    const child = spawn(ACTION_NODE, [join(ROOT, runs.main)], {
      cwd: at('workspace'),
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        PATH: process.env.PATH,
        HOME: directory,
        TMPDIR: directory,
        CI: 'true',
        GITHUB_ACTIONS: 'true',
        GITHUB_EVENT_NAME: event.name,
        GITHUB_EVENT_PATH: at('event.json'),
        GITHUB_OUTPUT: at('output'),
        GITHUB_STEP_SUMMARY: at('summary'),
        GITHUB_WORKSPACE: at('workspace'),
        ...Object.fromEntries(passed),
        ...options.env,
      },
    });
    let log = '';
    const take = (chunk: Buffer): void => {
      log += chunk.toString('utf8');
      options.onLog?.(log, (name) => child.kill(name));
    };
    child.stdout.on('data', take);
    child.stderr.on('data', take);
    const [exitCode] = await once(child, 'close');
    return {
      exitCode: exitCode as number,
      log,
      commands: log.split('\n').flatMap((line) => readCommand(line) ?? []),
      outputs: parseOutputFile(await readFile(at('output'), 'utf8')),
      summary: await readFile(at('summary'), 'utf8'),
    };
  });
}
