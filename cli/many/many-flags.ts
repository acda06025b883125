/** The flags of `accel convert` for many images in one run. */
import { type Command, Option } from 'commander';
import { AccelError } from '../../base/error.ts';
import type { ConvertFlags } from '../commands/convert-flags.ts';
import { collectPaths, parseInteger } from '../parse-values.ts';
import { parseReport, type ReportFile } from './report-file.ts';

/** The parsed flags. */
export interface ManyFlags {
  readonly from?: readonly string[];
  readonly tags?: readonly string[];
  readonly exclude?: readonly string[];
  readonly repositoryPattern?: readonly string[];
  readonly excludeRepository?: readonly string[];
  readonly rules?: string;
  readonly jobs: number;
  readonly failFast?: boolean;
  readonly report?: ReportFile;
}

/** Images at a time, unless the flag says otherwise. */
const DEFAULT_JOBS = 4;

/** Declares the flags. */
export function addManyFlags(command: Command): void {
  const repeatable = (flags: string, description: string): Option =>
    new Option(flags, `${description} (repeatable)`).argParser(collectPaths);
  command
    .addOption(
      repeatable(
        '--from <file>',
        'convert the images of a list, a reference and options of its own a line, such as HOST/app:7 -o 7_obd; # begins a comment; - for standard input',
      ),
    )
    .addOption(repeatable('--tags <pattern>', "convert the tags of the repository that match, such as 'v*'"))
    .addOption(repeatable('--exclude <pattern>', "leave these tags out, such as '*-debug'"))
    .addOption(
      repeatable(
        '--repository-pattern <pattern>',
        "convert in all repositories of a registry's catalogue that match, such as 'HOST/team/*'",
      ),
    )
    .addOption(repeatable('--exclude-repository <pattern>', 'leave these repositories out'))
    .option('--rules <file>', 'convert what the rules of a configuration of accel serve (YAML) cover, as they say')
    .addOption(
      new Option('--jobs <n>', 'of many images, so many at a time; --max-memory bounds them all together')
        .argParser(parseInteger('--jobs', 1, 64))
        .default(DEFAULT_JOBS),
    )
    .option('--fail-fast', 'of many images, end the run at the first that fails')
    .addOption(
      new Option('--report <form[=file]>', 'of many images, also write a report: junit=FILE').argParser(parseReport),
    );
}

/** The flags that ask for many images, with their attributes. */
const SELECTIONS = [
  ['from', '--from'],
  ['tags', '--tags'],
  ['repositoryPattern', '--repository-pattern'],
  ['rules', '--rules'],
] as const;

/** Flags that speak of one image. */
const OF_ONE = [
  ['inputTag', '-i'],
  ['inputDigest', '-g'],
  ['outputTag', '-o'],
  ['overlaybd', '--overlaybd'],
  ['turboOCI', '--turboOCI'],
  ['fastoci', '--fastoci'],
  ['dumpManifest', '--dump-manifest'],
] as const;

/** Flags that rules have their own keys for. */
const OF_RULES = [
  ['from', '--from'],
  ['tags', '--tags'],
  ['exclude', '--exclude'],
  ['repositoryPattern', '--repository-pattern'],
  ['excludeRepository', '--exclude-repository'],
  ['repository', '-r'],
  ['mode', '--mode'],
  ['targetRepository', '--target-repository'],
  ['prefetch', '--prefetch'],
  ['prefetchPath', '--prefetch-path'],
  ['platform', '--platform'],
  ['algorithm', '--algorithm'],
  ['bs', '--bs'],
  ['level', '--level'],
  ['layout', '--layout'],
] as const;

/** Flags that rules have no key for. */
const NOT_OF_RULES = [
  ['vsize', '--vsize'],
  ['span', '--span'],
  ['flatten', '--flatten'],
  ['flattenAbove', '--flatten-above'],
  ['oci', '--oci'],
  ['referrer', '--referrer'],
  ['subject', '--subject'],
  ['maxFiles', '--max-files'],
  ['maxLayerSize', '--max-layer-size'],
] as const;

/** Flags that count for many images alone. */
const OF_MANY = [
  ['exclude', '--exclude'],
  ['excludeRepository', '--exclude-repository'],
  ['failFast', '--fail-fast'],
  ['report', '--report'],
] as const;

/**
 * Whether the flags ask for many images. `isGiven` says of an attribute whether it has another value than its default.
 * Throws `usage` for flags that do not go together.
 */
export function asksForMany(
  reference: string | undefined,
  flags: ConvertFlags & ManyFlags,
  isGiven: (name: string) => boolean,
): boolean {
  const given = (list: readonly (readonly [keyof (ConvertFlags & ManyFlags), string])[]): string[] =>
    list.filter(([name]) => isGiven(name) && flags[name] !== undefined).map(([, flag]) => flag);
  const selected = given(SELECTIONS);
  if (selected.length === 0) {
    const [first] = given(OF_MANY);
    if (first === undefined) return false;
    throw new AccelError('usage', `${first} is for many images`, {
      expected: SELECTIONS.map(([, flag]) => flag).join(', '),
      hint: "Say which: accel convert -r HOST/NAME --tags '*', or a list with --from FILE.",
    });
  }
  const [by = ''] = selected;
  const refused = (flag: string, hint: string): AccelError =>
    new AccelError('usage', `${flag} does not go with ${by}`, { hint });
  if (reference !== undefined) throw refused(`the reference ${reference}`, 'Add it to the list, or leave it out.');
  const [single] = given(OF_ONE);
  if (single !== undefined) {
    throw refused(single, 'It speaks of one image. A line of a list may have options of its own, such as -o TAG.');
  }
  if (!flags.upload) throw refused('--no-upload', 'For a look without any work take --dry-run.');
  if (flags.rules !== undefined) {
    const [own] = given(OF_RULES.filter(([name]) => flags[name] !== false));
    if (own !== undefined) throw refused(own, 'Write it into a rule.');
    const [other] = given(NOT_OF_RULES);
    if (other !== undefined)
      throw refused(other, "Rules have no key for it. Name the images by -r HOST/NAME --tags '*', or by --from FILE.");
  } else if (flags.from !== undefined) {
    const other = given([...SELECTIONS.slice(1), ['repository', '-r'], ['exclude', '--exclude']]);
    if (other[0] !== undefined) throw refused(other[0], 'Run it twice, or write the images into the list.');
  } else if (flags.repositoryPattern === undefined && flags.repository === undefined) {
    throw new AccelError('usage', '--tags needs a repository', {
      hint: "Add -r HOST/NAME, or --repository-pattern 'HOST/team/*'.",
    });
  } else if (flags.repositoryPattern !== undefined && flags.repository !== undefined) {
    throw refused('--repository-pattern', 'Leave -r out: a pattern without wildcards names a repository, too.');
  }
  return true;
}
