/** `accel serve backfill` and `accel serve prune`: by hand, what the service does on its schedule. */
import { Command } from 'commander';
import { AccelError } from '../../base/error.ts';
import type { PruneReport } from '../../converter/prune/prune-repository.ts';
import type { CommandContext } from '../context.ts';
import { formatCount } from '../format.ts';
import { JSON_FORMAT_VERSION, jsonText } from '../progress/json.ts';
import { pruneDocument, pruneSummary, renderPruning } from '../prune-report.ts';
import { checkServer, type ServerFlags } from '../server-flags.ts';
import type { BackfillImage } from '../server-package.ts';
import { printable } from '../text.ts';
import { serverOf } from './agent-node.ts';

const CONFIG = ['-c, --config <file>', 'configuration, YAML (docs/configuration.md); required'] as const;
const JSON_FLAG = ['--json', 'print one JSON document on standard output'] as const;

/** Flags; those of `accel serve` are read before and after the word of the command. */
interface ScanFlags extends ServerFlags {
  readonly json?: boolean;
  readonly dryRun?: boolean;
  readonly yes?: boolean;
}

/** Declares `accel serve backfill`. */
export function backfillCommand(context: CommandContext): Command {
  const command = new Command('backfill')
    .summary('convert images that existed before')
    .description(
      'Adds the images of the repositories that a pattern means, as far as rules cover them, to the queue of the service. ' +
        'With the embedded queue, a service that runs on this machine is asked through its API.',
    )
    .argument('<pattern...>', 'globs of HOST/REPOSITORY, such as registry.example.com/team/*')
    .option(...CONFIG)
    .option('--dry-run', 'list what would be converted and by which rule, and add nothing')
    .option(...JSON_FLAG);
  return checkServer(command, context)
    .addHelpText(
      'after',
      `
Examples:
  $ accel serve backfill -c accel.yaml --dry-run 'registry.example.com/team/*'
`,
    )
    .action(async (patterns: readonly string[], _: ScanFlags, self: Command) => {
      const { config, json = false, dryRun = false } = flagsOf(context, self, 'accel serve backfill');
      const images: BackfillImage[] = [];
      const report = await serverOf(context).backfill('accel serve backfill', {
        config,
        patterns,
        dryRun,
        onImage: (image) => {
          if (json) images.push(image);
          else context.stdout.write(`${printable(imageText(image))}\n`);
        },
        signal: context.signal,
      });
      if (json) context.stdout.write(jsonText({ formatVersion: JSON_FORMAT_VERSION, dryRun, ...report, images }));
      else {
        const action = dryRun ? 'to convert' : 'added';
        context.stderr.write(
          `${report.due} of ${formatCount(report.images, 'image')} ${action}, ${formatCount(report.repositories, 'repository')}\n`,
        );
      }
      failOn(context, report.problems, 'not all repositories could be read');
    });
}

function imageText({ image, rule, outcome, reason }: BackfillImage): string {
  const by = rule === undefined ? '' : `, rule ${rule}`;
  return `${image}: ${outcome}${by}${reason === undefined ? '' : `: ${reason}`}`;
}

/** Declares `accel serve prune`. */
export function servePruneCommand(context: CommandContext): Command {
  const command = new Command('prune')
    .summary('remove accelerated tags that nobody needs')
    .description(
      'Lists the accelerated tags whose base is gone or has moved, in the repositories that rules cover, and the reason. ' +
        'Removes them only with --yes. Tags that accel did not make are never removed.',
    )
    .option(...CONFIG)
    .option('--dry-run', 'remove nothing; the default')
    .option('--yes', 'remove them')
    .option(...JSON_FLAG);
  return checkServer(command, context)
    .addHelpText(
      'after',
      `
Examples:
  $ accel serve prune -c accel.yaml
  $ accel serve prune -c accel.yaml --yes
`,
    )
    .action(async (_: ScanFlags, self: Command) => {
      const { config, json = false, yes = false, dryRun = false } = flagsOf(context, self, 'accel serve prune');
      if (yes && dryRun) throw new AccelError('usage', '--yes removes and --dry-run does not: choose one');
      const repositories: PruneReport[] = [];
      const report = await serverOf(context).prune('accel serve prune', {
        config,
        dryRun: !yes,
        onReport: (one) => {
          // The document alone has what stays; a summary does not need it.
          repositories.push(json ? one : { ...one, plan: { ...one.plan, kept: [] } });
          if (!json) context.stdout.write(renderPruning(one, !yes));
        },
        signal: context.signal,
      });
      const outcome = { dryRun: !yes, ...report, repositories };
      if (json) context.stdout.write(pruneDocument(outcome));
      else context.stderr.write(`${pruneSummary(outcome)}\n`);
      failOn(context, report.problems, 'not everything could be looked at or removed');
    });
}

function flagsOf(context: CommandContext, self: Command, command: string): ScanFlags & { readonly config: string } {
  const flags = self.optsWithGlobals<ScanFlags>();
  context.setReporting({ json: flags.json === true, verbose: false });
  if (flags.config === undefined) throw new AccelError('usage', `${command} needs a configuration file: -c FILE`);
  return { ...flags, config: flags.config };
}

function failOn(context: CommandContext, problems: readonly string[], message: string): void {
  if (problems.length === 0) return;
  // Standard output has its one document already.
  context.setReporting({ json: false, verbose: false });
  for (const problem of problems) context.stderr.write(`${printable(problem)}\n`);
  throw new AccelError('registry-error', message, {
    found: problems.length === 1 ? 'one problem, listed above' : `${problems.length} problems, listed above`,
  });
}
