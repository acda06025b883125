/** Runs the built command line as a user would: a process of its own, its own temporary directory. */
import { access, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type RunResult, run, type TempDirectory, tempDirectory } from './tools.ts';

/** The built command line; ACCEL_CLI names another one, such as that of a packed and installed package. */
export const ACCEL: string = process.env.ACCEL_CLI ?? join(import.meta.dirname, '../../dist/program/main.js');

/** A run of accel; standard output as text. */
export interface AccelRun extends Omit<RunResult, 'stdout'> {
  readonly stdout: string;
  /** Files that were left in its temporary directory. */
  readonly leftovers: readonly string[];
}

/** Options of {@link accel}. */
export interface AccelOptions {
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly input?: string;
}

/** Runs accel to its end, whatever the exit code, with an empty temporary directory of its own that is looked into afterwards. */
export async function accel(args: readonly string[], options: AccelOptions = {}): Promise<AccelRun> {
  await requireBuild();
  const scratch: TempDirectory = await tempDirectory('accel-e2e-');
  try {
    // No colours, no credentials of whoever runs the tests.
    const env = { TMPDIR: scratch.path, DOCKER_CONFIG: scratch.path, NO_COLOR: '1', ...options.env };
    const { stdout, stderr, exitCode } = await run(process.execPath, [ACCEL, ...args], {
      accept: 'any',
      env,
      ...(options.input === undefined ? {} : { input: options.input }),
    });
    return { stdout: stdout.toString('utf8'), stderr, exitCode, leftovers: await readdir(scratch.path) };
  } finally {
    await scratch.remove();
  }
}

/** Throws unless the command line was built. */
export async function requireBuild(): Promise<void> {
  await access(ACCEL).catch((cause: unknown) => {
    throw new Error(`${ACCEL} is missing: npm run build`, { cause });
  });
}

/** The parts of `accel convert --json` that tests look at. */
export interface ConvertDocument {
  readonly tags: readonly {
    readonly tag: string;
    readonly kind: string;
    readonly digest: string;
    readonly size: number;
    readonly ratio: number;
    readonly upToDate: boolean;
    readonly manifests: readonly { readonly layers: readonly { readonly digest: string; readonly size: number }[] }[];
  }[];
  readonly warnings: readonly string[];
}

/** Converts and answers what `--json` says; throws with accel's standard error when it fails or leaves something behind. */
export async function convert(args: readonly string[], options: AccelOptions = {}): Promise<ConvertDocument> {
  const result = await accel(['convert', ...args, '--json'], options);
  if (result.exitCode !== 0)
    throw new Error(`accel convert ${args.join(' ')}: exit ${result.exitCode}\n${result.stderr}`);
  if (result.leftovers.length > 0) throw new Error(`accel left files behind: ${result.leftovers.join(', ')}`);
  return JSON.parse(result.stdout) as ConvertDocument;
}
