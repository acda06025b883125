/** A run of the Action: decide, convert or examine, verify, report. Never throws; the exit code says how it went. */
import { AccelError, asAccelError } from '../base/error.ts';
import { EXIT_CODES, type ExitCode, renderError } from '../cli/error-report.ts';
import { describeDecision } from '../cli/event-report.ts';
import { formatBytes, formatCount } from '../cli/format.ts';
import { renderVerify } from '../cli/render-verify.ts';
import { limitRun, type RunLimit } from '../cli/run-limit.ts';
import { renderSummary } from '../cli/summary.ts';
import type { Environment, Output } from '../cli/terminal.ts';
import { convert } from '../converter/convert.ts';
import { targetOptions } from '../converter/endpoints.ts';
import type { InspectReport } from '../inspect/inspect-reference.ts';
import { notify } from '../notify/notify.ts';
import type { EventDecision } from '../triggers/decide.ts';
import { decideAction } from './decide-step.ts';
import { type Access, inspectTag, measureStart, type StartCost, verifyTag } from './finished.ts';
import { createGithubProgress } from './github-progress.ts';
import { INPUT_WORDS } from './input-words.ts';
import { type ActionInputs, readInputs, secretsOf } from './inputs.ts';
import { renderFailure, renderJobSummary } from './job-summary.ts';
import {
  convertedLayers,
  convertedTags,
  finishedLayers,
  finishedTag,
  type Outcome,
  type ReportedTag,
} from './outcome.ts';
import { noticeOf, outputsOf } from './outputs.ts';
import { actionRequest } from './request.ts';
import { Runner } from './workflow-commands.ts';

/** Surroundings of a run. */
export interface ActionContext {
  readonly stdout: Output;
  readonly env: Environment;
  readonly signal: AbortSignal;
}

/** Everything that a step needs, gathered once. */
interface Step extends ActionContext {
  readonly runner: Runner;
  readonly inputs: ActionInputs;
  readonly progress: ReturnType<typeof createGithubProgress>;
  readonly access: Access;
}

/** Columns that the log of a workflow has room for. */
const LOG_COLUMNS = 120;
/** Exit code of a skipped event with `fail-on-skip`: the request is refused as such. */
const SKIPPED: ExitCode = 3;

/** Runs the Action as the environment asks. */
export async function runAction(context: ActionContext): Promise<ExitCode> {
  const runner = new Runner(context.stdout, context.env);
  for (const secret of secretsOf(context.env)) runner.mask(secret);
  let limit: RunLimit | undefined;
  try {
    const inputs = readInputs(context.env);
    limit = limitRun(inputs.timeout, context.signal);
    return await runStep(prepareStep({ ...context, signal: limit.signal }, runner, inputs));
  } catch (error) {
    const known = asAccelError(limit === undefined ? error : limit.explain(error));
    const shown = context.signal.aborted ? new AccelError('aborted', 'interrupted', { cause: known }) : known;
    const text = renderError(shown, { words: INPUT_WORDS }).trimEnd();
    runner.annotate('error', `accel: ${shown.code}`, text);
    await runner.addSummary(renderFailure(text));
    return EXIT_CODES[shown.code];
  } finally {
    limit?.release();
  }
}

function prepareStep(context: ActionContext, runner: Runner, inputs: ActionInputs): Step {
  const progress = createGithubProgress(runner);
  const { env, signal } = context;
  return {
    ...context,
    runner,
    inputs,
    progress,
    access: { registry: { ...inputs.registry, env, warn: progress.warn }, signal },
  };
}

async function runStep(step: Step): Promise<ExitCode> {
  const { runner, inputs, env, access, signal } = step;
  const { decision, byEvent } = await decideAction(inputs, env, access);
  runner.log(describeDecision(decision));
  const outcome = await carryOut(step, decision);
  await runner.setOutputs(outputsOf(outcome));
  await runner.addSummary(renderJobSummary(outcome));
  if (decision.event === 'skipped') return reportSkip(step, decision);
  refuseDifferences(outcome);
  // One report a conversion: of an event it is that of the finished tag, for a run by hand it is this run itself.
  if (inputs.notify !== undefined && (decision.event === 'accelerated' || !byEvent)) {
    const { attempts } = await notify(inputs.notify, noticeOf(outcome), signal);
    runner.log(`notify-url took the message${attempts === 1 ? '' : ` at attempt ${attempts}`}`);
  }
  return 0;
}

function reportSkip({ runner, inputs }: Step, decision: EventDecision): ExitCode {
  const isOdd = decision.event === 'skipped' && decision.code === 'named-accelerated';
  const kind = inputs.failOnSkip ? 'error' : isOdd ? 'warning' : 'notice';
  runner.annotate(kind, 'accel', describeDecision(decision));
  return inputs.failOnSkip ? SKIPPED : 0;
}

async function carryOut(step: Step, decision: EventDecision): Promise<Outcome> {
  if (decision.event === 'convert') return convertImage(step, decision);
  if (decision.event === 'accelerated') return reportFinished(step, decision);
  return { decision, repository: decision.repository, tags: [], layers: [] };
}

async function convertImage(step: Step, decision: Extract<EventDecision, { event: 'convert' }>): Promise<Outcome> {
  const { runner, inputs, progress, access, env, signal } = step;
  const request = actionRequest(inputs, decision);
  const { registry } = access;
  const other = inputs.targetRegistry;
  const surroundings = {
    onEvent: progress.onEvent,
    signal,
    registry,
    ...(other === undefined ? {} : { targetRegistry: { ...other, env, warn: progress.warn } }),
  };
  const result = await grouped(runner, `Convert ${decision.repository}`, () => convert(request, surroundings));
  runner.log(renderSummary(result, { columns: LOG_COLUMNS }));
  const target = { registry: targetOptions(request, surroundings), signal };
  const source = { reference: `${decision.repository}@${result.source.digest}`, access };
  const against = request.targetRepository === undefined ? undefined : source;
  const platform = result.tags[0]?.manifests[0]?.platform;
  const tags: ReportedTag[] = [];
  for (const tag of convertedTags(result)) {
    // Whoever may push to the repository may claim that a tag is up to date: unless a key of the record proved it, the
    // content is compared as well.
    const isClaimed = tag.upToDate === true && inputs.recordKey === undefined && !inputs.verifyReused;
    const place = isClaimed ? { platform, target, against: source, whole: true } : { platform, target, against };
    tags.push(await look(step, result.repository, tag, place));
  }
  return { decision, repository: result.repository, tags, layers: convertedLayers(result), result };
}

async function reportFinished(
  step: Step,
  decision: Extract<EventDecision, { event: 'accelerated' }>,
): Promise<Outcome> {
  const { repository } = decision;
  const target = step.access;
  const reports: InspectReport[] = [];
  const tags: ReportedTag[] = [];
  for (const finished of decision.tags) {
    const report = await inspectTag(`${repository}:${finished.tag}@${finished.digest}`, target);
    reports.push(report);
    const platform = report.images[0]?.platform;
    tags.push(await look(step, repository, finishedTag(finished, report), { platform, target, against: undefined }));
  }
  return { decision, repository, tags, layers: finishedLayers(reports) };
}

/** Location of a tag, the platform to measure, and the source to compare it with. */
interface Place {
  readonly platform: string | undefined;
  readonly target: Access;
  readonly against: Parameters<typeof verifyTag>[1];
  /** Compare content also where the input asks for a quick comparison. */
  readonly whole?: boolean;
}

/** Verifies a tag as the inputs ask, and measures what a node fetches of it at start. */
async function look(
  { runner, inputs, progress }: Step,
  repository: string,
  tag: ReportedTag,
  { platform, target, against, whole = false }: Place,
): Promise<ReportedTag> {
  const reference = `${repository}:${tag.tag}@${tag.digest}`;
  const verify = whole && inputs.verify === 'quick' ? 'full' : inputs.verify;
  return grouped(runner, `${verify === 'off' ? 'Look at' : 'Verify'} ${repository}:${tag.tag}`, async () => {
    const start = platform === undefined ? undefined : await measureStart(reference, platform, target);
    if (start !== undefined) runner.log(startLine(start));
    const verification = verify === 'off' ? undefined : await verifyTag(reference, against, verify, target);
    if (verification !== undefined && 'impossible' in verification)
      progress.warn(`${repository}:${tag.tag} cannot be verified: ${verification.impossible}`);
    else if (verification !== undefined) runner.log(renderVerify(verification));
    return {
      ...tag,
      ...(start === undefined ? {} : { start }),
      ...(verification === undefined ? {} : { verification }),
    };
  });
}

function startLine({ bytes, whole, requests }: StartCost): string {
  return `at start a node fetches ${formatBytes(bytes)} of ${formatBytes(whole)} in ${formatCount(requests, 'request')}`;
}

function refuseDifferences({ repository, tags }: Outcome): void {
  for (const { tag, verification } of tags) {
    if (verification === undefined || 'impossible' in verification || verification.identical) continue;
    throw new AccelError('verification-failed', 'the accelerated image is not what its source says', {
      where: { image: `${repository}:${tag}` },
      expected: 'no difference',
      found: verification.differenceCount,
      hint: 'Do not run it; the log has the differences. Convert the source again with force: true.',
    });
  }
}

async function grouped<T>(runner: Runner, title: string, body: () => Promise<T>): Promise<T> {
  runner.group(title);
  try {
    return await body();
  } finally {
    runner.endGroup();
  }
}
