/** `accel convert`: flags in, a conversion, its result out. */
import { Command, Option } from 'commander';
import { AccelError } from '../../base/error.ts';
import type { Algorithm, ConvertResult, Mode } from '../../converter/options.ts';
import { DEFAULT_MAX_MEMORY, defaultWorkers } from '../../converter/settings.ts';
import type { CommandContext } from '../context.ts';
import { LEGACY_FLAGS, legacyWarnings } from '../legacy-flags.ts';
import { collect, parseBlockSize, parseInteger, parseMemory, parseSpan, parseVsize } from '../parse-values.ts';
import { renderPlan } from '../plan-report.ts';
import { addPrefetchFlags, type PrefetchFlags, prefetchRequest, refuseTwoInputs } from '../prefetch-flags.ts';
import { createProgress, type Verbosity } from '../progress/index.ts';
import { jsonText, resultDocument } from '../progress/json.ts';
import { addRegistryFlags, type RegistryFlags, registryChoice, targetChoice } from '../registry-flags.ts';
import { addReuseFlags, type ReuseFlags, reuseRequest } from '../reuse-flags.ts';
import { maxLayerSizeOption } from '../size-flag.ts';
import { renderQuiet, renderSummary } from '../summary.ts';
import { columnsOf, hasUnicode, styleFor } from '../terminal.ts';
import { convertRequest } from './convert-request.ts';

/** The parsed flags of `accel convert`. */
export interface ConvertFlags extends RegistryFlags, PrefetchFlags, ReuseFlags {
  readonly repository?: string;
  readonly inputTag?: string;
  readonly inputDigest?: string;
  readonly outputTag?: string;
  readonly targetRepository?: string;
  readonly targetUsername?: string;
  readonly dryRun?: boolean;
  readonly overlaybd?: string;
  readonly turboOCI?: string;
  readonly fastoci?: string;
  readonly mode?: Mode;
  readonly platform: readonly string[];
  readonly oci?: boolean;
  readonly referrer?: boolean;
  readonly vsize?: number;
  readonly algorithm: Algorithm;
  readonly level?: number;
  readonly bs: number;
  readonly span: number;
  readonly maxFiles: number;
  readonly maxLayerSize: number;
  readonly concurrencyLimit: number;
  readonly workers: number;
  readonly maxMemory: number;
  readonly dir?: string;
  readonly upload: boolean;
  readonly force?: boolean;
  readonly cache: boolean;
  readonly dumpManifest?: boolean;
  readonly json?: boolean;
  readonly quiet?: boolean;
  readonly verbose?: boolean;
}

const EXAMPLES = `
Examples:
  Both tags, 1.2_accelerated and 1.2_containerd_accelerated:
    $ accel convert -r registry.example.com/team/app -i 1.2
  One tag of your choice:
    $ accel convert -r registry.example.com/team/app -i 1.2 -o 1.2_obd
  An index over the original layers, 3 % of their size, for containerd:
    $ accel convert -r registry.example.com/team/app -i 1.2 --mode index-only -o 1.2_index
  An OCI image layout on disk, in place:
    $ accel convert -r oci:./layout -i latest
  In a script:
    $ accel convert -r registry.example.com/team/app -i 1.2 -u ci --password-stdin --json < token
  With the files that the container reads first, see accel prefetch:
    $ accel convert -r registry.example.com/team/app -i 1.2 --prefetch startup.txt
`;

/** Declares the command. */
export function convertCommand(context: CommandContext): Command {
  const command = new Command('convert')
    .summary('make the accelerated image of an image')
    .description(
      'Converts an image to overlaybd format and pushes the result beside it. By default every Linux platform is ' +
        'converted in full mode and two tags are pushed: TAG_accelerated (containerd and Docker, needs nothing else) and ' +
        'TAG_containerd_accelerated (containerd, small, needs the base image).',
    )
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
  for (const { flags, why } of LEGACY_FLAGS) command.addOption(new Option(flags, why).hideHelp());
  return command.addHelpText('after', EXAMPLES).action((flags: ConvertFlags) => runConvert(flags, context));
}

function addArtifactFlags(command: Command): void {
  command
    .option('--oci', 'write OCI media types whatever the source uses')
    .option('--referrer', 'link the results to the source as its referrers; implies --oci')
    .addOption(
      new Option('--vsize <GiB>', 'size of the virtual block device; 64, or more when needed, unless given').argParser(
        parseVsize,
      ),
    )
    .addOption(new Option('--algorithm <name>', 'compression of blocks').choices(['lz4', 'zstd']).default('lz4'))
    .addOption(new Option('--bs <KiB>', 'size of a compressed block').argParser(parseBlockSize).default(4096, '4'))
    .addOption(
      new Option('--level <n>', 'level of zstd: a higher one makes smaller layers and takes longer').argParser(
        parseInteger('--level', 1, 22),
      ),
    )
    .addOption(
      new Option('--span <bytes>', 'output between two access points of a gzip index')
        .argParser(parseSpan)
        .default(2 ** 20, '1M'),
    )
    .addOption(new Option('--fstype <type>', 'file system of the device').choices(['ext4']).default('ext4'))
    .addOption(
      new Option('--max-files <n>', 'files and directories an image may hold')
        .argParser(parseInteger('--max-files', 1, 2 ** 32 - 1))
        .default(1_000_000),
    )
    .addOption(maxLayerSizeOption());
}

function addRunFlags(command: Command): void {
  command
    .addOption(
      new Option('--concurrency-limit <n>', 'manifests and uploads in flight')
        .argParser(parseInteger('--concurrency-limit', 1, 64))
        .default(4),
    )
    .addOption(
      new Option('--workers <n>', 'compress threads; 0 compresses in the main thread')
        .argParser(parseInteger('--workers', 0, 256))
        .default(defaultWorkers(), 'one less than the processors'),
    )
    .addOption(
      new Option('--max-memory <bytes>', 'memory that threads and buffers are sized for')
        .argParser(parseMemory)
        .default(DEFAULT_MAX_MEMORY, '512M'),
    )
    .option('-d, --dir <dir>', 'folder for temporary files; a new folder in it is made and removed')
    .option('--dry-run', 'say what would be done; read manifests alone and write nothing')
    .option('--no-upload', 'convert, but push and tag nothing')
    .option('--no-cache', 'convert layers anew that an earlier run converted; keep no record of them in the repository')
    .option('--force', 'convert again what stands already, overwrite a tag of the other mode')
    .option('--dump-manifest', 'print the manifests on standard output')
    .option('--json', 'print one JSON document on standard output, and nothing else but warnings and errors')
    .option('-q, --quiet', 'print the pushed references and nothing else')
    .option('--verbose', 'tell every step; errors come with their stack');
}

/** Runs a conversion and prints what came out; errors are thrown for the caller to report. */
async function runConvert(flags: ConvertFlags, context: CommandContext): Promise<void> {
  context.setReporting({ json: flags.json === true, verbose: flags.verbose === true });
  const verbosity = verbosityOf(flags);
  if (flags.prefetch === '-') refuseTwoInputs(flags, '--prefetch -');
  const request = {
    ...convertRequest(flags, await prefetchRequest(flags, context.stdin)),
    ...(await reuseRequest(flags)),
  };
  const registry = await registryChoice(flags, context.stdin);
  const target = targetChoice(registry, flags.targetUsername);
  const progress = await createProgress(context.stderr, context.env, verbosity);
  try {
    if (verbosity !== 'quiet') {
      for (const message of legacyWarnings({ ...flags })) progress.onEvent({ type: 'warning', message });
    }
    const converter = await context.loadConverter();
    const warn = (message: string): void => progress.onEvent({ type: 'warning', message });
    const call = {
      onEvent: progress.onEvent,
      signal: context.signal,
      registry: { ...registry, env: context.env, warn },
      ...(target === undefined ? {} : { targetRegistry: { ...target, env: context.env, warn } }),
    };
    if (flags.dryRun === true) {
      const plan = await converter.planConversion(request, call);
      progress.stop();
      context.stdout.write(flags.json === true ? jsonText(plan) : renderPlan(plan));
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
  if (flags.quiet === true) return 'quiet';
  if (flags.verbose === true) return 'verbose';
  // A script reads the document, in which all that mattered stands; what it did wrong is still told.
  return flags.json === true ? 'warnings' : 'normal';
}
