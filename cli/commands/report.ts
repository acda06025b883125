/** `accel report`: what repositories store, and what starts fetch. */
import { Command } from 'commander';
import { AccelError, asAccelError } from '../../base/error.ts';
import { VERSION } from '../../base/version.ts';
import type { RepositoryReport } from '../../inspect/report/report-facts.ts';
import type { CommandContext } from '../context.ts';
import { collectPaths, parseInteger } from '../parse-values.ts';
import { refuseTwoInputs } from '../prefetch-flags.ts';
import { addRegistryFlags, type RegistryFlags, registryChoice } from '../registry-flags.ts';
import { COUNTED, renderReport, reportDocument } from '../report/report-document.ts';
import { findRepositoryNames } from '../repository-names.ts';
import { styleFor } from '../terminal.ts';
import { printable } from '../text.ts';
import { createWarn } from '../warning.ts';

/** The parsed flags of `accel report`. */
interface ReportFlags extends RegistryFlags {
  readonly from?: readonly string[];
  readonly nodes?: number;
  readonly concurrencyLimit?: number;
  readonly html?: string;
  readonly json?: boolean;
  readonly quiet?: boolean;
  readonly verbose?: boolean;
}

const EXAMPLES = `
Examples:
  $ accel report registry.example.com/team/app
  Write a page for the team, with the saving of 200 nodes:
    $ accel report 'registry.example.com/team/*' --nodes 200 --html report.html
`;

/** Manifests that are read at a time. */
const CONCURRENCY = 8;

/** Declares the command. */
export function reportCommand(context: CommandContext): Command {
  const command = new Command('report')
    .summary('count what repositories store, and what starts fetch')
    .description(
      'Counts the bytes of base images and of accelerated images, shared and own, each blob once in a repository; what a start ' +
        'fetches, by the prefetch lists and traces that images carry; and what a fleet saves. Says what is unknown.',
    )
    .argument('[repository...]', 'repositories, HOST/NAME, patterns over a catalogue, HOST/team/*, or layouts, oci:DIR')
    .option(
      '--from <file>',
      'read more of them from a file, or - for standard input; one a line, # begins a comment (repeatable)',
      collectPaths,
    )
    .option('--nodes <number>', 'say what a fleet of so many nodes saves', parseInteger('--nodes', 1, 10_000_000))
    .option('--html <file>', 'write one HTML file with plots, which loads nothing from anywhere')
    .option(
      '--concurrency-limit <number>',
      `manifests that are read at a time; ${CONCURRENCY} unless given`,
      parseInteger('--concurrency-limit', 1, 64),
    )
    .option('--json', 'print one JSON document on standard output')
    .option('--quiet', 'print nothing but warnings; with --html');
  return addRegistryFlags(command)
    .option('--verbose', 'errors come with their stack')
    .addHelpText('after', EXAMPLES)
    .action((names: readonly string[], flags: ReportFlags) => runReport(names, flags, context));
}

async function runReport(names: readonly string[], flags: ReportFlags, context: CommandContext): Promise<void> {
  const { stdout, stderr, stdin, env, signal } = context;
  const { json = false, quiet = false, verbose = false, from, html, nodes } = flags;
  context.setReporting({ json, verbose });
  if (from?.includes('-')) refuseTwoInputs(flags, 'the list');
  const warn = await createWarn(stderr, env);
  const registry = { ...(await registryChoice(flags, stdin, stderr)), env, warn };
  const repositories = await findRepositoryNames({ names, from, stdin }, { ...registry, signal });
  const style = await styleFor(stdout, env);
  const reports: RepositoryReport[] = [];
  const failures: string[] = [];
  let last: AccelError | undefined;
  const { reportByName } = await import('../../inspect/report/report-by-name.ts');
  for (const repository of repositories) {
    try {
      const concurrency = flags.concurrencyLimit ?? CONCURRENCY;
      const report = await reportByName(repository, { registry, concurrency, nodes, signal });
      reports.push(report);
      if (report.tags === 0) warn(`${repository} has no tags, or does not exist`);
      if (!json && !quiet) stdout.write(`${reports.length > 1 ? '\n' : ''}${renderReport(report, style)}`);
    } catch (error) {
      if (signal.aborted || repositories.length === 1) throw error;
      last = asAccelError(error);
      failures.push(`${repository}: ${last.message}`);
    }
  }
  const problems = [...reports.flatMap((one) => one.problems.map((line) => `${one.repository}: ${line}`)), ...failures];
  const outcome = { repositories: reports, problems };
  if (html !== undefined) {
    const { reportPage } = await import('../report/report-page.ts');
    const { replaceFile } = await import('../../disk/write-atomically.ts');
    await replaceFile(html, Buffer.from(reportPage(outcome, VERSION)));
  }
  if (json) stdout.write(reportDocument(outcome));
  else if (!quiet) stderr.write(`\n${COUNTED.map((line) => `${line}\n`).join('')}`);
  for (const problem of problems) warn(printable(problem));
  if (last === undefined) return;
  // Standard output has its one document already.
  context.setReporting({ json: false, verbose });
  throw new AccelError(reports.length === 0 ? last.code : 'registry-error', 'not all repositories could be read', {
    found: `${failures.length} of ${repositories.length}, listed above`,
  });
}
