/**
 * A list of images: a reference a line with options of its own, `#` for comments. Options are a few of the command's, parsed
 * by the very same declarations; they count in place of those of the command line.
 */
import { Command, CommanderError, type Option } from 'commander';
import { AccelError, asAccelError } from '../../base/error.ts';
import { type LinePlace, parseListLines } from '../list-lines.ts';

/** The options that a line may have. */
const LINE_OPTIONS: readonly string[] = [
  '--output-tag',
  '--mode',
  '--overlaybd',
  '--turboOCI',
  '--platform',
  '--target-repository',
  '--prefetch',
  '--no-prefetch',
  '--algorithm',
  '--bs',
  '--level',
  '--vsize',
  '--layout',
  '--flatten',
  '--flatten-above',
  '--oci',
  '--referrer',
  '--subject',
  '--copy-referrers',
  '--force',
];

/** A line that names an image. */
export interface ListedLine {
  /** `FILE:LINE`. */
  readonly place: string;
  readonly reference: string;
  /** The options of the line, by their attribute; those that it lacks are absent. */
  readonly flags: Readonly<Record<string, unknown>>;
}

/** The flags that a line may have, as the help lists them. */
export function lineOptions(command: Command): readonly Option[] {
  return command.options.filter(({ long }) => LINE_OPTIONS.includes(long ?? ''));
}

/** Parses a list; `file` is its name in errors, which name the line. Throws `usage`. */
export function parseImageList(text: string, file: string, command: Command): ListedLine[] {
  return parseListLines(text, file).map(({ where, words }) => {
    return { place: `${file}:${where.line}`, ...parseWords(words, where, command) };
  });
}

function parseWords(words: readonly string[], where: LinePlace, command: Command): Omit<ListedLine, 'place'> {
  const [first = ''] = words;
  // Most lines of a long list: a parser for each would take a minute.
  if (words.length === 1 && !first.startsWith('-')) return { reference: first, flags: {} };
  const line = new Command('line').argument('<ref>').exitOverride().helpOption(false);
  line.configureOutput({ writeErr: () => undefined, writeOut: () => undefined });
  for (const option of lineOptions(command)) line.addOption(option);
  try {
    line.parse([...words], { from: 'user' });
  } catch (error) {
    throw lineError(error, words, { where, options: lineOptions(command) });
  }
  const given = Object.entries(line.opts()).filter(([name]) => line.getOptionValueSource(name) === 'cli');
  return { reference: line.args[0]!, flags: Object.fromEntries(given) };
}

function lineError(
  error: unknown,
  words: readonly string[],
  { where, options }: { readonly where: LinePlace; readonly options: readonly Option[] },
): AccelError {
  if (!(error instanceof CommanderError)) {
    const known = asAccelError(error);
    return new AccelError(known.code, known.message, { ...known.details, where: { ...where, ...known.where } });
  }
  const known = options.map(({ short, long }) => short ?? long).join(', ');
  const wrong: Readonly<Record<string, string>> = {
    'commander.unknownOption': `A line may have ${known}; all else is for the command line.`,
    'commander.missingArgument': 'A line begins with a reference, such as registry.example.com/team/app:1.2.',
    'commander.excessArguments': 'Write each image on a line of its own, and # before a comment.',
  };
  return new AccelError('usage', error.message.replace(/^error: /, '').split('\n')[0] ?? 'this line cannot be read', {
    where,
    found: words.join(' ').slice(0, 200),
    ...(wrong[error.code] === undefined ? {} : { hint: wrong[error.code] }),
  });
}
