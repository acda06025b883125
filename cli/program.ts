/** The command tree, and the way from an argument list to an exit code. */
import { Command, CommanderError } from 'commander';
import { AccelError, asAccelError } from '../base/error.ts';
import { VERSION } from '../base/version.ts';
import { COMMANDS, loadCommands } from './commands/index.ts';
import type { CommandContext, Reporting } from './context.ts';
import { flagWords, type Words } from './option-words.ts';
import { jsonText } from './progress/json.ts';
import { EXIT_CODES, type ExitCode, errorDocument, renderError } from './report.ts';
import { styleFor } from './terminal.ts';

/** Surroundings of a run, without what the run sets up itself. */
export type ProgramContext = Omit<CommandContext, 'setReporting'>;

const DESCRIPTION =
  'Turns container images into images that start before they are downloaded (overlaybd / DADI format: full conversion and TurboOCI).';

const EXAMPLES = `
Examples:
  $ accel convert -r registry.example.com/team/app -i 1.2
  $ accel convert -r oci:./layout -i latest
`;

/**
 * The command tree: whole, as scripts/generate-docs.ts reads it, or with the one command alone that `named` names, which
 * is all that a call of it needs.
 */
export async function createProgram(context: CommandContext, named?: string): Promise<Command> {
  const program = new Command('accel')
    .description(DESCRIPTION)
    .version(VERSION, '-V, --version', 'print the version')
    .helpCommand(true)
    .addHelpText('after', EXAMPLES);
  for (const command of await loadCommands(context, named)) program.addCommand(command);
  for (const command of withSubcommands(program)) {
    command
      .showSuggestionAfterError(true)
      .exitOverride()
      .configureOutput({
        writeOut: (text) => context.stdout.write(text),
        // Errors are thrown and told by report.ts, in one form for all.
        writeErr: () => undefined,
        getOutHelpWidth: () => context.stdout.columns || 100,
      });
  }
  return program;
}

function withSubcommands(command: Command): Command[] {
  return [command, ...command.commands.flatMap(withSubcommands)];
}

/** Runs `args` (without node and script); never throws, the exit code says how it went. */
export async function runProgram(args: readonly string[], surroundings: ProgramContext): Promise<ExitCode> {
  let reporting: Reporting = { json: args.includes('--json'), verbose: args.includes('--verbose') };
  const context: CommandContext = {
    ...surroundings,
    setReporting: (known) => {
      reporting = known;
    },
  };
  try {
    const program = await createProgram(context, args[0]);
    if (args.length === 0) {
      context.stderr.write(program.helpInformation());
      return EXIT_CODES.usage;
    }
    await program.parseAsync(expandBooleans(args, program), { from: 'user' });
    return 0;
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return 0;
    const words = flagWords(commandOf(args));
    return report(toAccelError(error, args, context.signal), { ...reporting, words }, context);
  }
}

async function report(
  error: AccelError,
  { json, verbose, words }: Reporting & { readonly words: Words },
  context: CommandContext,
): Promise<ExitCode> {
  const style = await styleFor(context.stderr, context.env);
  context.stderr.write(renderError(error, { style, verbose, words }));
  if (json) context.stdout.write(jsonText(errorDocument(error, words)));
  return EXIT_CODES[error.code];
}

/** The name of the command that `args` call: `convert`, `prefetch add`. */
function commandOf(args: readonly string[]): string {
  return args.slice(0, args[0] === 'prefetch' ? 2 : 1).join(' ');
}

function toAccelError(error: unknown, args: readonly string[], signal: AbortSignal): AccelError {
  if (error instanceof CommanderError) return usageError(error, args);
  const known = asAccelError(error);
  // What breaks while everything is being torn down is the interrupt's doing.
  if (signal.aborted && known.code !== 'aborted') return new AccelError('aborted', 'interrupted', { cause: known });
  return known;
}

/** Commander's message without its prefix; its "Did you mean" becomes the hint. */
function usageError(error: CommanderError, args: readonly string[]): AccelError {
  if (error.code === 'commander.help')
    return new AccelError('usage', 'the command needs another one behind it', { hint: 'Add --help to see which.' });
  const text = error.message.replace(/^error: /, '');
  const [message = text, suggestion] = text.split(/\n\((?=Did you mean)/);
  const hint = suggestion === undefined ? `See ${helpOf(args)}.` : suggestion.replace(/\)$/, '');
  return new AccelError('usage', message, { hint, cause: error });
}

/** The help page that is nearest to a call that went wrong. */
function helpOf(args: readonly string[]): string {
  return args[0] !== undefined && COMMANDS.has(args[0]) ? `accel ${args[0]} --help` : 'accel --help';
}

/**
 * `--flag=true` and `--flag=false` for flags without a value: the reference convertor's flag parser takes them, and
 * scripts use them.
 */
function expandBooleans(args: readonly string[], program: Command): string[] {
  let command = program;
  for (const arg of args) {
    const child = command.commands.find((candidate) => candidate.name() === arg);
    if (child === undefined) break;
    command = child;
  }
  const booleans = new Set(
    command.options.filter((option) => !option.required && !option.optional).map((option) => option.long),
  );
  const end = args.indexOf('--');
  return args.flatMap((arg, index) => {
    const match = end >= 0 && index > end ? null : /^(--[\w-]+)=(true|false)$/.exec(arg);
    if (match === null || !booleans.has(match[1])) return [arg];
    return match[2] === 'true' ? [match[1]!] : [];
  });
}
