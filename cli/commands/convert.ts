/** `accel convert`: flags in, a conversion, its result out. */
import { Command, Option } from 'commander';
import { AccelError } from '../../base/error.ts';
import type { ConvertResult } from '../../converter/options.ts';
import { abortableInput } from '../abortable-input.ts';
import type { CommandContext } from '../context.ts';
import { LEGACY_FLAGS, legacyWarnings } from '../legacy-flags.ts';
import { addManyFlags, asksForMany, type ManyFlags } from '../many/many-flags.ts';
import { collect } from '../parse-values.ts';
import { renderPlan } from '../plan-report.ts';
import { addPrefetchFlags, prefetchRequest, refuseTwoInputs } from '../prefetch-flags.ts';
import { createProgress } from '../progress/index.ts';
import { jsonText, planDocument, resultDocument } from '../progress/json.ts';
import type { Verbosity } from '../progress/progress.ts';
import { addRegistryFlags, registryChoice, targetChoice } from '../registry-flags.ts';
import { addReuseFlags, reuseRequest } from '../reuse-flags.ts';
import { limitRun } from '../run-limit.ts';
import { argumentReplaces } from '../settings/apply.ts';
import { renderQuiet, renderSummary } from '../summary.ts';
import { columnsOf, hasUnicode, styleFor } from '../terminal.ts';
import { addArtifactFlags, addRunFlags, type ConvertFlags } from './convert-flags.ts';
import { namedImage } from './convert-reference.ts';
import { convertRequest } from './convert-request.ts';

const EXAMPLES = `
Examples:
  Both tags, 1.2_accelerated and 1.2_containerd_accelerated:
    $ accel convert registry.example.com/team/app:1.2
  One tag of your choice:
    $ accel convert registry.example.com/team/app:1.2 -o 1.2_obd
  An index over the original layers, about 1 % of their size, for containerd:
    $ accel convert registry.example.com/team/app:1.2 --mode index-only -o 1.2_index
  An OCI image layout on disk, in place:
    $ accel convert oci:./layout:latest
  The layers above the lowest two as one, without what they replace and delete of each other:
    $ accel convert registry.example.com/team/app:1.2 --flatten-above 2
  In a script:
    $ accel convert registry.example.com/team/app:1.2 -u ci --password-stdin --json < token
  With the files that the container reads first, see accel prefetch:
    $ accel convert registry.example.com/team/app:1.2 --prefetch startup.txt
  With the flags of the reference convertor:
    $ accel convert -r registry.example.com/team/app -i 1.2
  The tags of a repository, in one run that can be repeated until all are done:
    $ accel convert -r registry.example.com/team/app --tags '1.*' --exclude '*-debug'
  The repositories of a registry that has a catalogue:
    $ accel convert --repository-pattern 'registry.example.com/team/*' --tags '1.*'
  A list of images, and the rules of a configuration of accel serve:
    $ accel convert --from images.txt --jobs 8 --report junit=accel.xml
    $ accel convert --rules rules.yaml
`;

/** Settings that a reference on the command line replaces. */
const REPLACED_BY_REFERENCE = ['repository', 'inputTag', 'inputDigest', 'from', 'tags', 'repositoryPattern', 'rules'];

/** Declares the command. */
export function convertCommand(context: CommandContext): Command {
  const command = new Command('convert')
    .summary('make the accelerated image of an image')
    .description(
      'Converts an image to overlaybd format and pushes the result beside it. By default every Linux platform is ' +
        'converted in full mode and two tags are pushed: TAG_accelerated (containerd and Docker, needs nothing else) and ' +
        'TAG_containerd_accelerated (containerd, small, needs the base image).',
    )
    .argument('[ref]', 'image, HOST/NAME:TAG or oci:DIR:TAG; in place of -r with -i or -g')
    .option('-r, --repository <repo>', 'repository of the image, host[:port]/name or oci:DIR')
    .option('-i, --input-tag <tag>', 'tag of the image')
    .option('-g, --input-digest <digest>', 'digest of the image, instead of its tag')
    .option('-o, --output-tag <tag>', 'push exactly this tag, in the chosen mode')
    .addOption(new Option('--mode <mode>', 'kind of artifact, full unless given').choices(['full', 'index-only']))
    .option('--target-repository <repo>', 'push the result there instead, host[:port]/name or oci:DIR')
    .option('--target-username <user:password>', 'user of the target registry, where it is another one')
    .option('--overlaybd <tag>', 'push a full image under this tag')
    .option('--turboOCI <tag>', 'push an index-only image under this tag (may go with --overlaybd)')
    .addOption(new Option('--fastoci <tag>', 'old name of --turboOCI').hideHelp())
    .addOption(
      new Option('--platform <os/arch>', 'platform to convert (repeatable)')
        .argParser(collect)
        .default([], 'every Linux platform'),
    );
  addRegistryFlags(command);
  addArtifactFlags(command);
  addPrefetchFlags(command);
  addReuseFlags(command);
  addRunFlags(command);
  addManyFlags(command);
  for (const { flags, why } of LEGACY_FLAGS) command.addOption(new Option(flags, why).hideHelp());
  return argumentReplaces(command, REPLACED_BY_REFERENCE)
    .addHelpText('after', EXAMPLES)
    .action(async (reference: string | undefined, flags: ConvertFlags & ManyFlags) => {
      const isGiven = (name: string): boolean => ['cli', 'config'].includes(command.getOptionValueSource(name) ?? '');
      if (!asksForMany(reference, flags, isGiven)) return runConvert(reference, flags, context);
      context.setReporting({ json: flags.json === true, verbose: flags.verbose === true });
      const { runMany } = await import('../many/run-many.ts');
      return runMany({ flags, command, context, verbosity: verbosityOf(flags) });
    });
}

/** Runs a conversion and prints what came out; errors are thrown for the caller to report. */
async function runConvert(reference: string | undefined, flags: ConvertFlags, context: CommandContext): Promise<void> {
  context.setReporting({ json: flags.json === true, verbose: flags.verbose === true });
  const limit = limitRun(flags.timeout, context.signal);
  try {
    const stdin = abortableInput(context.stdin, limit.signal);
    await convertWithin(reference, flags, { ...context, stdin, signal: limit.signal });
  } catch (error) {
    throw limit.explain(error);
  } finally {
    limit.release();
  }
}

async function convertWithin(
  reference: string | undefined,
  flags: ConvertFlags,
  context: CommandContext,
): Promise<void> {
  const verbosity = verbosityOf(flags);
  if (flags.prefetch === '-') refuseTwoInputs(flags, '--prefetch -');
  const prefetch = await prefetchRequest(flags, context.stdin);
  const registry = await registryChoice(flags, context.stdin, context.stderr);
  const named = reference === undefined ? undefined : await namedImage(reference, flags);
  const request = { ...convertRequest({ ...flags, ...named }, prefetch), ...(await reuseRequest(flags)) };
  const target = targetChoice(registry, flags.targetUsername);
  const progress = await createProgress(context.stderr, context.env, verbosity);
  try {
    const said = new Set<string>();
    const warn = (message: string): void => {
      // Source and target may be one registry, which then repeats its warning.
      if (!said.has(message)) progress.onEvent({ type: 'warning', message });
      said.add(message);
    };
    legacyWarnings({ ...flags }).forEach(warn);
    const converter = await context.loadConverter();
    const call = {
      onEvent: progress.onEvent,
      signal: context.signal,
      registry: { ...registry, env: context.env, warn },
      ...(target === undefined ? {} : { targetRegistry: { ...target, env: context.env, warn } }),
    };
    if (flags.dryRun === true) {
      const plan = await converter.planConversion(request, call);
      progress.stop();
      context.stdout.write(flags.json === true ? planDocument(plan) : renderPlan(plan));
      return;
    }
    const result = await converter.convert(request, call);
    progress.stop();
    await printResult(result, flags, context);
  } finally {
    progress.stop();
  }
}

async function printResult(result: ConvertResult, flags: ConvertFlags, context: CommandContext): Promise<void> {
  const { stdout, stderr, env } = context;
  if (flags.json === true) {
    stdout.write(resultDocument(result, flags.dumpManifest === true));
    return;
  }
  // The manifests are for a program to read: with them the summary moves over to the log.
  const out = flags.dumpManifest === true ? stderr : stdout;
  const style = await styleFor(out, env);
  const text =
    flags.quiet === true
      ? renderQuiet(result)
      : renderSummary(result, { style, columns: columnsOf(out), unicode: hasUnicode(env), dry: !flags.upload });
  out.write(text);
  if (flags.dumpManifest !== true) return;
  for (const tag of result.tags) for (const { manifest } of tag.manifests) stdout.write(jsonText(manifest));
}

function verbosityOf(flags: ConvertFlags): Verbosity {
  if (flags.quiet === true && flags.verbose === true) {
    throw new AccelError('usage', '--quiet does not go with --verbose', { hint: 'Choose one of them.' });
  }
  if (flags.verbose === true) return 'verbose';
  // Only the result is wanted, as references or as a document; warnings still go to standard error.
  return flags.quiet === true || flags.json === true ? 'warnings' : 'normal';
}
