/** `accel convert` of many images: flags in, one run, its summary, documents and exit code out. */
import { writeFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { AccelError, asAccelError } from '../../base/error.ts';
import { convertMany } from '../../triggers/many/convert-many.ts';
import type { ImageOutcome } from '../../triggers/many/image-orders.ts';
import { TargetPool } from '../../triggers/many/target-pool.ts';
import { isOwnName } from '../../triggers/rules/covered-tags.ts';
import type { ConvertFlags } from '../commands/convert-flags.ts';
import type { CommandContext } from '../context.ts';
import { EXIT_CODES } from '../error-report.ts';
import { legacyWarnings } from '../legacy-flags.ts';
import { refuseTwoInputs } from '../prefetch-flags.ts';
import type { Verbosity } from '../progress/progress.ts';
import { registryChoice, targetChoice } from '../registry-flags.ts';
import { limitRun } from '../run-limit.ts';
import { columnsOf, hasUnicode, styleFor } from '../terminal.ts';
import { type Gathered, gatherOrders } from './gather-orders.ts';
import { junitReport, manyDocument } from './many-document.ts';
import type { ManyFlags } from './many-flags.ts';
import { createManyProgress, type ManyProgress } from './many-progress.ts';
import { renderManyQuiet, renderManySummary } from './many-summary.ts';
import { errorOf } from './tally.ts';

/** A call of the command. */
export interface ManyCall {
  readonly flags: ConvertFlags & ManyFlags;
  readonly command: Command;
  readonly context: CommandContext;
  readonly verbosity: Verbosity;
}

/**
 * Runs it. An early end leaves what is done as it is: the summary and the documents come in any case, and then `aborted`, `timed-out`, or the failure of images ({@link errorOf}) is thrown.
 */
export async function runMany({ flags, command, context, verbosity }: ManyCall): Promise<void> {
  const started = performance.now();
  refuseInputs(flags);
  const limit = limitRun(flags.timeout, context.signal);
  const { stderr, env } = context;
  const progress = await createManyProgress(stderr, { env, style: await styleFor(stderr, env), verbosity });
  const warn = once((message) => progress.warn(message));
  legacyWarnings({ ...flags }).forEach(warn);
  const pool = await openPool(flags, context, warn);
  const inner = { ...context, signal: limit.signal };
  try {
    const gathered = await gatherOrders({ flags, command, context: inner, pool });
    const outcomes = await runOrders(gathered, { flags, pool, progress, warn, signal: limit.signal });
    progress.stop();
    const seconds = (performance.now() - started) / 1000;
    const end = endOf(outcomes, { user: context.signal, run: limit.signal });
    // Standard output has one document, the run's own.
    context.setReporting({ json: false, verbose: verbosity === 'verbose' });
    await report(outcomes, { flags, context, seconds, end, gathered });
    if (end !== undefined) throw end;
  } finally {
    progress.stop();
    limit.release();
    await pool.close();
  }
}

/** Standard input has one use. */
function refuseInputs(flags: ConvertFlags & ManyFlags): void {
  const uses = [
    ...(flags.from ?? []).filter((file) => file === '-').map(() => '--from -'),
    ...(flags.rules === '-' ? ['--rules -'] : []),
    ...(flags.prefetch === '-' ? ['--prefetch -'] : []),
  ];
  const [first, second] = uses;
  if (first !== undefined) refuseTwoInputs(flags, first);
  if (second === undefined) return;
  throw new AccelError('usage', `${first} and ${second} both read standard input`, {
    hint: 'Give one of them as a file.',
  });
}

async function openPool(
  flags: ConvertFlags & ManyFlags,
  { stdin, stderr, env }: CommandContext,
  warn: (message: string) => void,
): Promise<TargetPool> {
  const registry = await registryChoice(flags, stdin, stderr);
  const target = targetChoice(registry, flags.targetUsername);
  return new TargetPool({
    registry: { ...registry, env, warn },
    ...(target === undefined ? {} : { targetRegistry: { ...target, env, warn } }),
    dryRun: flags.dryRun === true,
  });
}

async function runOrders(
  { orders, failed }: Gathered,
  {
    flags,
    pool,
    progress,
    warn,
    signal,
  }: {
    readonly flags: ConvertFlags & ManyFlags;
    readonly pool: TargetPool;
    readonly progress: ManyProgress;
    readonly warn: (message: string) => void;
    readonly signal: AbortSignal;
  },
): Promise<ImageOutcome[]> {
  const idle = orders.filter(({ request: { source } }) => isOwnName(source.tag ?? '')).length;
  progress.begin(orders.length + failed.length, failed.length, idle);
  const failFast = flags.failFast === true;
  if (failFast && failed.length > 0) return [...failed];
  const outcomes = await convertMany(orders, pool, {
    jobs: flags.jobs,
    failFast,
    dryRun: flags.dryRun === true,
    uploads: Math.max(flags.concurrencyLimit, flags.jobs),
    workers: flags.workers,
    maxMemory: flags.maxMemory,
    signal,
    onEvent: progress.onEvent,
    warn,
  });
  return [...failed, ...outcomes];
}

/** The error that a run ends with; undefined where all went well. */
function endOf(
  outcomes: readonly ImageOutcome[],
  { user, run }: { readonly user: AbortSignal; readonly run: AbortSignal },
): AccelError | undefined {
  const hint = 'The tags that were set are complete; the next run does the rest.';
  if (user.aborted) return new AccelError('aborted', 'interrupted', { hint });
  if (run.aborted) return new AccelError('timed-out', 'the run did not end in time and was stopped', { hint });
  return errorOf(outcomes);
}

async function report(
  outcomes: readonly ImageOutcome[],
  {
    flags,
    context,
    seconds,
    end,
    gathered,
  }: {
    readonly flags: ConvertFlags & ManyFlags;
    readonly context: CommandContext;
    readonly seconds: number;
    readonly end: AccelError | undefined;
    readonly gathered: Gathered;
  },
): Promise<void> {
  const { stdout, env } = context;
  const exitCode = end === undefined ? 0 : EXIT_CODES[end.code];
  if (flags.json === true) stdout.write(manyDocument(outcomes, { seconds, exitCode }));
  else if (flags.quiet === true) stdout.write(renderManyQuiet(outcomes));
  else {
    const repeated = gathered.orders.reduce((sum, { places }) => sum + Math.max(0, places.length - 1), 0);
    const style = await styleFor(stdout, env);
    stdout.write(
      renderManySummary(outcomes, { style, columns: columnsOf(stdout), unicode: hasUnicode(env), seconds, repeated }),
    );
  }
  if (flags.report === undefined) return;
  const { path } = flags.report;
  await writeFile(path, junitReport(outcomes, { seconds })).catch((error: unknown) => {
    throw asAccelError(error);
  });
}

/** Passes each message on once: many images of a registry bring the same warnings. */
function once(pass: (message: string) => void): (message: string) => void {
  const said = new Set<string>();
  return (message) => {
    if (!said.has(message)) pass(message);
    said.add(message);
  };
}
