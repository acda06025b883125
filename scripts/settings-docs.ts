/** The table of docs/environment.md from the commands themselves: the variable and the key of each flag. */
import type { Command } from 'commander';
import { PROJECT_FLAGS } from '../cli/settings/project-keys.ts';
import { commandName, runnableCommands, settingsOf } from '../cli/settings/setting.ts';
import { loadWholeProgram } from './cli-docs.ts';

/** Path of the page, from the project's root. */
export const ENVIRONMENT_DOCS_PATH = 'docs/environment.md';

const PLACE = /(<!-- flags: [^>]*-->\n)[\s\S]*?(<!-- end -->)/;
/** Commands that a row names; a flag of more is one of most commands. */
const MAX_NAMED = 4;

/** The page with its table generated again; throws an Error when the place for it is missing. */
export async function withSettingsTable(page: string): Promise<string> {
  if (!PLACE.test(page)) throw new Error(`${ENVIRONMENT_DOCS_PATH} has no place for the table of flags`);
  const table = settingsTable(await loadWholeProgram());
  return page.replace(PLACE, (_, head: string, tail: string) => `${head}\n${table}\n${tail}`);
}

function settingsTable(program: Command): string {
  const rows = new Map<string, { readonly cells: string[]; readonly commands: string[] }>();
  for (const command of runnableCommands(program)) {
    for (const { flag, variable, key } of settingsOf(command)) {
      const row = rows.get(flag) ?? {
        cells: [`\`${variable}\``, `\`${key}\``, `\`${flag}\``, PROJECT_FLAGS.has(flag) ? 'yes' : ''],
        commands: [],
      };
      row.commands.push(commandName(command));
      rows.set(flag, row);
    }
  }
  const heads = ['variable', 'key of a file', 'flag', 'in a project', 'commands'];
  const body = [...rows.values()]
    .map(({ cells, commands }) => [
      ...cells,
      commands.length > MAX_NAMED ? `${commands.length} commands` : commands.join(', '),
    ])
    .sort(([one], [other]) => (one! < other! ? -1 : 1));
  const widths = heads.map((_, column) => Math.max(...[heads, ...body].map((row) => row[column]!.length)));
  const line = (row: readonly string[]): string => `| ${row.map((text, i) => text.padEnd(widths[i]!)).join(' | ')} |\n`;
  return [line(heads), line(widths.map((width) => '-'.repeat(width))), ...body.map(line)].join('');
}
