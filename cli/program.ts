/** The command tree, and the way from an argument list to an exit code. */
import { Command, CommanderError } from 'commander';
import { AccelError, asAccelError } from '../base/error.ts';
import { VERSION } from '../base/version.ts';
import { abortableInput } from './abortable-input.ts';
import { loadCommands } from './commands/index.ts';
import type { CommandContext, Reporting } from './context.ts';
import { EXIT_CODES, type ExitCode, errorDocument, errorRecord, renderError } from './error-report.ts';
import { fitHelp, helpLayout } from './help-layout.ts';
import { LogOutput, writeLog } from './log-output.ts';
import { flagWords, type Words } from './option-words.ts';
import { jsonText } from './progress/json.ts';
import { type LoadedSettings, loadSettings, settingSources } from './settings/load-settings.ts';
import { VARIABLE_PREFIX } from './settings/setting.ts';
import { switchOf } from './settings/variables.ts';
import { type Environment, styleFor } from './terminal.ts';
import { usageError } from './usage-error.ts';
import { createWarn } from './warning.ts';

/** Surroundings of a run, without what the run sets up itself. */
export type ProgramContext = Omit<CommandContext, 'setReporting' | 'loadProgram'>;

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
export async function createProgram(
  surroundings: Omit<CommandContext, 'loadProgram'>,
  named?: string,
): Promise<Command> {
  const context: CommandContext = { ...surroundings, loadProgram: () => createProgram(surroundings) };
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
      .configureHelp(helpLayout())
      .configureOutput({
        writeOut: (text) => context.stdout.write(fitHelp(text, context.stdout.columns)),
        // Errors are thrown and rendered by error-report.ts, in one form for all.
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
  const isOn = (name: string): boolean =>
    args.includes(`--${name}`) || switchOf(surroundings.env[`${VARIABLE_PREFIX}${name.toUpperCase()}`] ?? '') === true;
  // Until the command has parsed its flags.
  let reporting: Reporting = { json: isOn('json'), verbose: isOn('verbose') };
  const stderr = surroundings.stderr instanceof LogOutput ? surroundings.stderr : new LogOutput(surroundings.stderr);
  if (wantsJsonLog(args, surroundings.env)) stderr.asJson();
  const context = {
    ...surroundings,
    stderr,
    stdin: abortableInput(surroundings.stdin, surroundings.signal),
    setReporting: (known: Reporting) => {
      reporting = known;
    },
  };
  let loaded: LoadedSettings | undefined;
  try {
    const program = await createProgram(context, args[0]);
    if (args.length === 0) {
      context.stderr.write(program.helpInformation());
      return EXIT_CODES.usage;
    }
    const { args: expanded, off } = expandBooleans(args, program);
    program.hook('preAction', async (_, command) => {
      const sources = settingSources({ ...context, loadProgram: () => createProgram(context) }, off);
      loaded = await loadSettings(command, sources);
      if (command.opts<{ logFormat?: string }>().logFormat === 'json') stderr.asJson();
      if (loaded.warnings.length > 0) loaded.warnings.forEach(await createWarn(context.stderr, context.env));
    });
    await program.parseAsync(expanded, { from: 'user' });
    return 0;
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return 0;
    const words = flagWords(commandOf(args));
    const known = await toAccelError(error, args, context);
    const explained =
      loaded === undefined ? known : (await import('./settings/effective.ts')).withOrigins(known, loaded, words);
    return report(explained, { ...reporting, words }, context);
  }
}

async function report(
  error: AccelError,
  { json, verbose, words }: Reporting & { readonly words: Words },
  context: ProgramContext,
): Promise<ExitCode> {
  const style = await styleFor(context.stderr, context.env);
  writeLog(context.stderr, errorRecord(error, words), renderError(error, { style, verbose, words }));
  if (json) context.stdout.write(jsonText(errorDocument(error, words)));
  return EXIT_CODES[error.code];
}

/** Whether errors before the flags are parsed are JSON too; of the files nothing is known yet. */
function wantsJsonLog(args: readonly string[], env: Environment): boolean {
  const at = args.indexOf('--log-format');
  const given =
    at >= 0 ? args[at + 1] : args.find((arg) => arg.startsWith('--log-format='))?.slice('--log-format='.length);
  return (given ?? env.ACCEL_LOG_FORMAT) === 'json';
}

/** The name of the command that `args` call: `convert`, `prefetch add`. */
function commandOf(args: readonly string[]): string {
  return args.slice(0, args[0] === 'prefetch' ? 2 : 1).join(' ');
}

async function toAccelError(
  error: unknown,
  args: readonly string[],
  context: Omit<CommandContext, 'loadProgram'>,
): Promise<AccelError> {
  const { signal } = context;
  if (error instanceof CommanderError) return usageError(error, args, await createProgram(context));
  const known = asAccelError(error);
  // A failure while everything is being torn down is a consequence of the interrupt.
  if (signal.aborted && known.code !== 'aborted') return new AccelError('aborted', 'interrupted', { cause: known });
  return known;
}

/**
 * `--flag=true` and `--flag=false` for flags without a value: the reference convertor's flag parser takes them, and
 * scripts use them. `off` has the flags that are false: they overrule variables and files.
 */
function expandBooleans(args: readonly string[], program: Command): { args: string[]; off: ReadonlySet<string> } {
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
  const off = new Set<string>();
  const expanded = args.flatMap((arg, index) => {
    const match = end >= 0 && index > end ? null : /^(--[\w-]+)=(true|false)$/.exec(arg);
    if (match === null || !booleans.has(match[1])) return [arg];
    if (match[2] === 'true') return [match[1]!];
    off.add(match[1]!);
    return [];
  });
  return { args: expanded, off };
}
