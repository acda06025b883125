/** `accel prune`: removes accelerated tags that nobody needs. */
import { Command } from 'commander';
import { AccelError, asAccelError } from '../../base/error.ts';
import type { PruneReport } from '../../converter/prune/prune-repository.ts';
import type { CommandContext } from '../context.ts';
import { collectPaths, parseAge, parseInteger } from '../parse-values.ts';
import { refuseTwoInputs } from '../prefetch-flags.ts';
import { type PruneOutcome, pruneDocument, prunedReferences, pruneSummary, renderPruning } from '../prune-report.ts';
import { addRegistryFlags, type RegistryFlags, registryChoice } from '../registry-flags.ts';
import { findRepositoryNames } from '../repository-names.ts';
import { styleFor } from '../terminal.ts';
import { printable } from '../text.ts';
import { createWarn } from '../warning.ts';

/** The parsed flags of `accel prune`. */
interface PruneFlags extends RegistryFlags {
  readonly from?: readonly string[];
  readonly baseRepository?: readonly string[];
  readonly olderThan?: number;
  readonly keepLast?: number;
  readonly concurrencyLimit?: number;
  readonly dryRun?: boolean;
  readonly yes?: boolean;
  readonly json?: boolean;
  readonly quiet?: boolean;
  readonly verbose?: boolean;
}

const EXAMPLES = `
Examples:
  See what would go:
    $ accel prune registry.example.com/team/app
  Remove it, but nothing that was built in the last 30 days:
    $ accel prune registry.example.com/team/app --older-than 30d --yes
  All repositories of a team:
    $ accel prune 'registry.example.com/team/*'
  The bases are in another repository (accel convert --target-repository):
    $ accel prune registry.example.com/fast/app --base-repository registry.example.com/team/app
`;

/** Images that are read at a time. */
const CONCURRENCY = 8;

/** Declares the command. */
export function pruneCommand(context: CommandContext): Command {
  const command = new Command('prune')
    .summary('remove accelerated tags that nobody needs')
    .description(
      'Lists the accelerated tags whose base tag is gone or names another image, entries of the record of layers whose blobs are ' +
        'gone, and referrers whose subject is gone. Removes them only with --yes. Never removes an image without annotations of accel, ' +
        'or one that another tag or index needs.',
    )
    .argument('[repository...]', 'repositories, HOST/NAME, or patterns over the catalogue of a registry, HOST/team/*')
    .option(
      '--from <file>',
      'read more of them from a file, or - for standard input; one a line, # begins a comment (repeatable)',
      collectPaths,
    )
    .option(
      '--base-repository <repository>',
      'repository that the images were made from, where it is not the same (repeatable)',
      collectPaths,
    )
    .option(
      '--older-than <age>',
      'keep images that were built later, by their configs, such as 30d, and images without a time',
      parseAge,
    )
    .option(
      '--keep-last <number>',
      'keep this many images of those that could go, the youngest, and images without a time',
      parseInteger('--keep-last', 0, 1_000_000),
    )
    .option(
      '--concurrency-limit <number>',
      `images that are read at a time; ${CONCURRENCY} unless given`,
      parseInteger('--concurrency-limit', 1, 64),
    )
    .option('--dry-run', 'remove nothing; the default')
    .option('--yes', 'remove what is listed')
    .option('--json', 'print one JSON document on standard output')
    .option('--quiet', 'print the tags that go and nothing else');
  return addRegistryFlags(command)
    .option('--verbose', 'errors come with their stack')
    .addHelpText('after', EXAMPLES)
    .action((names: readonly string[], flags: PruneFlags) => runPrune(names, flags, context));
}

async function runPrune(names: readonly string[], flags: PruneFlags, context: CommandContext): Promise<void> {
  const { stdout, stderr, stdin, env, signal } = context;
  const { yes = false, dryRun = false, json = false, quiet = false, verbose = false, from } = flags;
  context.setReporting({ json, verbose });
  if (yes && dryRun) throw new AccelError('usage', '--yes removes and --dry-run does not: choose one');
  if (from?.includes('-')) refuseTwoInputs(flags, 'the list');
  const warn = await createWarn(stderr, env);
  const registry = { ...(await registryChoice(flags, stdin, stderr)), env, warn };
  const repositories = await findRepositoryNames({ names, from, stdin }, { ...registry, signal });
  const style = await styleFor(stdout, env);
  const reports: PruneReport[] = [];
  const failures: { readonly repository: string; readonly error: AccelError }[] = [];
  const { pruneByName } = await import('../../converter/prune/prune-by-name.ts');
  let [removed, isEnding] = [0, false];
  const sayRemoved = (): void => {
    if (isEnding || removed === 0) return;
    isEnding = true;
    warn(`${removed} manifests were removed before the interruption`);
  };
  signal.addEventListener('abort', sayRemoved, { once: true });
  for (const repository of repositories) {
    try {
      const report = await pruneByName(repository, {
        registry,
        bases: flags.baseRepository ?? [],
        dryRun: !yes,
        olderThan: flags.olderThan,
        keepLast: flags.keepLast,
        concurrency: flags.concurrencyLimit ?? CONCURRENCY,
        onRemoved: () => {
          removed += 1;
        },
        signal,
      });
      reports.push(report);
      if (!json) stdout.write(quiet ? prunedReferences(report, !yes) : renderPruning(report, !yes, style));
      sayMore(report, warn);
    } catch (error) {
      if (signal.aborted || repositories.length === 1) throw error;
      failures.push({ repository, error: asAccelError(error) });
    }
  }
  signal.removeEventListener('abort', sayRemoved);
  const outcome: PruneOutcome = {
    dryRun: !yes,
    tags: reports.reduce(
      (sum, { plan }) => sum + plan.kept.length + plan.removals.flatMap(({ tags }) => tags).length,
      0,
    ),
    removed: reports.reduce((sum, report) => sum + report.removed.length, 0),
    problems: [
      ...reports.flatMap(({ problems }) => problems),
      ...failures.map(({ repository, error }) => `${repository}: ${error.message}`),
    ],
    repositories: reports,
  };
  if (json) stdout.write(pruneDocument(outcome));
  else if (!quiet) stderr.write(`${pruneSummary(outcome)}\n`);
  if (outcome.problems.length === 0) return;
  // Standard output has its one document already.
  context.setReporting({ json: false, verbose });
  for (const problem of outcome.problems) stderr.write(`${printable(problem)}\n`);
  const [first, ...rest] = failures.map(({ error }) => error);
  const isSame = first !== undefined && reports.length === 0 && rest.every(({ code }) => code === first.code);
  throw new AccelError(isSame ? first.code : 'registry-error', 'not everything could be looked at or removed', {
    found:
      outcome.problems.length === 1 ? 'one problem, listed above' : `${outcome.problems.length} problems, listed above`,
  });
}

/** Warns of what the list does not show. */
function sayMore({ repository, plan, refusal }: PruneReport, warn: (text: string) => void): void {
  if (plan.kept.length + plan.removals.length === 0) warn(`${repository} has no tags, or does not exist`);
  if (refusal !== undefined) warn(`${repository}: nothing can be removed: ${refusal}`);
  const unknown = plan.kept.filter(({ reason }) => reason === 'base-unknown');
  if (unknown.length === 0) return;
  warn(
    `${repository}: the bases of ${unknown.length} accelerated tags are not here, and nothing shows that they ever were; say where they ` +
      `are with --base-repository, or that they were here with --base-repository ${repository}`,
  );
}
