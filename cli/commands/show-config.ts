/** `accel config`: the settings in effect, and where each of them comes from. */
import { Command } from 'commander';
import { AccelError } from '../../base/error.ts';
import { nearest } from '../../base/nearest.ts';
import type { CommandContext } from '../context.ts';
import { JSON_FORMAT_VERSION, jsonText } from '../progress/json.ts';
import { type EffectiveSetting, effectiveSettings } from '../settings/effective.ts';
import type { FoundFile } from '../settings/find-files.ts';
import { originText } from '../settings/given.ts';
import { loadSettings, settingSources } from '../settings/load-settings.ts';
import { commandName, runnableCommands } from '../settings/setting.ts';
import { printable } from '../text.ts';

interface ConfigFlags {
  readonly command?: string;
  readonly json?: boolean;
}

const EXAMPLES = `
Examples:
  $ accel config
  $ accel config --command convert
  $ accel config --command "prefetch add" --json
`;

/** Columns of a value beside which its origin is aligned. */
const WIDEST_VALUE = 40;

/** Declares the command. */
export function configCommand(context: CommandContext): Command {
  return new Command('config')
    .summary('print the settings in effect')
    .description(
      'Prints the files of settings that are read, and the value of each setting with its origin: a variable, a place of a ' +
        'file, or the default. Without --command it prints what differs from the defaults, for all commands. Passwords are ' +
        'never printed.',
    )
    .option('--command <name>', 'all settings of one command, such as convert or "prefetch add"')
    .option('--json', 'print one JSON document on standard output')
    .addHelpText('after', EXAMPLES)
    .action((flags: ConfigFlags) => runConfig(flags, context));
}

async function runConfig({ command: wanted, json = false }: ConfigFlags, context: CommandContext): Promise<void> {
  context.setReporting({ json, verbose: false });
  const program = await context.loadProgram();
  const commands = runnableCommands(program);
  const names = commands.map(commandName);
  if (wanted !== undefined && !names.includes(wanted)) {
    const meant = nearest(wanted, names);
    throw new AccelError('usage', `there is no command ${wanted}`, {
      expected: names.join(', '),
      ...(meant === undefined ? {} : { hint: `Did you mean ${meant}?` }),
    });
  }
  const sources = settingSources({ ...context, loadProgram: () => Promise.resolve(program) });
  const listed: Listed[] = [];
  const files = new Map<string, FoundFile>();
  for (const command of commands) {
    const name = commandName(command);
    if (wanted !== undefined && name !== wanted) continue;
    const loaded = await loadSettings(command, sources);
    for (const file of loaded.files) files.set(file.path, file);
    const settings = effectiveSettings(loaded).filter(
      ({ origin }) => wanted !== undefined || origin.kind !== 'default',
    );
    if (settings.length > 0) listed.push({ command: name, settings });
  }
  context.stdout.write(json ? documentOf([...files.values()], listed) : textOf([...files.values()], listed));
}

/** A command with its settings. */
interface Listed {
  readonly command: string;
  readonly settings: readonly EffectiveSetting[];
}

function documentOf(files: readonly FoundFile[], commands: readonly Listed[]): string {
  return jsonText({
    formatVersion: JSON_FORMAT_VERSION,
    files,
    commands: commands.map(({ command, settings }) => ({
      command,
      settings: settings.map(({ text: _, value, ...rest }) => ({ ...rest, ...(value === undefined ? {} : { value }) })),
    })),
  });
}

function textOf(files: readonly FoundFile[], commands: readonly Listed[]): string {
  const lines = files.map(
    ({ kind, path, trusted }) => `${kind} file  ${path}${trusted ? '' : ' (may not set everything)'}`,
  );
  if (files.length === 0) lines.push('no file of settings');
  if (commands.length === 0) lines.push('', 'every setting has its default');
  // Settings of many commands are printed once.
  const groups = new Map<string, { readonly names: string[]; readonly settings: readonly EffectiveSetting[] }>();
  for (const { command, settings } of commands) {
    const key = JSON.stringify(settings);
    const group = groups.get(key) ?? { names: [], settings };
    group.names.push(command);
    groups.set(key, group);
  }
  for (const { names, settings } of groups.values()) {
    const rows = settings.map(({ flag, text = '', origin }) => [flag, text, originText(origin)] as const);
    const [flags, texts] = [0, 1].map((column) => Math.max(...rows.map((row) => row[column]!.length)));
    lines.push('', names.join(', '));
    for (const [flag, text, origin] of rows) {
      lines.push(`  ${flag.padEnd(flags!)}  ${text.padEnd(Math.min(texts!, WIDEST_VALUE))}  ${origin}`);
    }
  }
  return `${lines.map((line) => printable(line)).join('\n')}\n`;
}
