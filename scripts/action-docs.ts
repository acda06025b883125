/** The tables of docs/action.md from action.yml itself, so that the page cannot say anything else. */
import { parse } from 'yaml';

/** Path of the page, from the project's root. */
export const ACTION_DOCS_PATH = 'docs/action.md';

interface ActionMetadata {
  readonly inputs: Readonly<Record<string, { readonly description: string; readonly default?: string }>>;
  readonly outputs: Readonly<Record<string, { readonly description: string }>>;
}

/** The page with its tables generated again; throws an Error when a place for one is missing. */
export function withActionTables(page: string, actionYaml: string): string {
  const { inputs, outputs } = parse(actionYaml) as ActionMetadata;
  const inputRows = Object.entries(inputs).map(([name, input]) => [
    `\`${name}\``,
    input.default === undefined ? '' : `\`${input.default}\``,
    cell(input.description),
  ]);
  const outputRows = Object.entries(outputs).map(([name, output]) => [`\`${name}\``, cell(output.description)]);
  const withInputs = replaced(page, 'inputs', table(['input', 'default', 'what it says'], inputRows));
  return replaced(withInputs, 'outputs', table(['output', 'what it holds'], outputRows));
}

function replaced(page: string, name: string, content: string): string {
  const place = new RegExp(`(<!-- ${name}: [^>]*-->\n)[\\s\\S]*?(<!-- end -->)`);
  if (!place.test(page)) throw new Error(`${ACTION_DOCS_PATH} has no place for the table of ${name}`);
  return page.replace(place, (_, head: string, tail: string) => `${head}\n${content}\n${tail}`);
}

function table(heads: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [heads, ...rows];
  const widths = heads.map((_, column) => Math.max(...all.map((row) => row[column]!.length)));
  const line = (row: readonly string[]): string => `| ${row.map((text, i) => text.padEnd(widths[i]!)).join(' | ')} |\n`;
  return [line(heads), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line)].join('');
}

function cell(text: string): string {
  return text.trim().replace(/\s+/g, ' ').replaceAll('|', '\\|').replaceAll('_', '\\_');
}
