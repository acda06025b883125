/** Lists in the pages that must be complete. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { EXIT_CODES } from '../../cli/error-report.ts';
import { idleProgram } from '../../cli/testing/idle-surroundings.ts';
import { renderConfigDocs } from '../../scripts/config-docs.ts';
import { pages } from './blocks.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const read = (page: string) => readFileSync(join(ROOT, page), 'utf8');

const program = await idleProgram();
const convert = program.commands.find((command) => command.name() === 'convert')!;

it.each(Object.entries(EXIT_CODES))('troubleshooting.md explains %s, with its exit code %d', (code, exit) => {
  const rows = read('docs/troubleshooting.md')
    .split('\n')
    .filter((line) => line.startsWith('| ') && line.split('|')[1]!.includes(`\`${code}\``));
  expect(rows).toHaveLength(1);
  const [, , exitCell, text] = rows[0]!.split('|').map((cell) => cell.trim());
  expect(exitCell).toBe(String(exit));
  expect(text!.length).toBeGreaterThan(20);
});

it('migrating.md names flags that convert takes, and all those of the reference convertor', () => {
  const rows = read('docs/migrating.md')
    .split('\n')
    .filter((line) => line.startsWith('| `-'));
  const named = rows.flatMap((row) => [...row.split('|')[1]!.matchAll(/`(--?[\w-]+)`/g)].map((match) => match[1]!));
  const known = convert.options.flatMap(({ short, long }) => [short, long]);
  expect(named.filter((flag) => !known.includes(flag))).toEqual([]);
  // The flags that are hidden in the help are there for the reference's sake alone.
  const forReference = convert.options.filter((option) => option.hidden).map(({ long }) => long);
  expect(forReference.filter((flag) => !named.includes(flag!))).toEqual([]);
});

it('a call of accel in a page names a command and flags that exist', () => {
  const wrong: string[] = [];
  for (const page of pages()) {
    for (const [call, name = '', rest = ''] of read(page).matchAll(/`accel ([a-z]+)([^`\n]*)`/g)) {
      const command = program.commands.find((candidate) => candidate.name() === name);
      const flags = [...rest.matchAll(/ (--[a-z][\w-]*)/g)].map((match) => match[1]!);
      const all = [command, ...(command?.commands ?? [])].flatMap((one) => one?.options ?? []).map(({ long }) => long);
      if (command === undefined && name !== 'help') wrong.push(`${page}: ${call}`);
      wrong.push(
        ...flags.filter((flag) => flag !== '--help' && !all.includes(flag)).map((flag) => `${page}: ${call}: ${flag}`),
      );
    }
  }
  expect(wrong).toEqual([]);
});

it('the glossary is in the order of the alphabet, each term once', () => {
  const terms = [...read('docs/glossary.md').matchAll(/^\*\*([^*]+)\*\*/gm)].map((match) => match[1]!.toLowerCase());
  expect(terms.length).toBeGreaterThan(20);
  expect(terms).toEqual([...new Set(terms)].sort((a, b) => a.localeCompare(b, 'en')));
});

it('every decision is in the list', () => {
  const list = read('docs/decisions/README.md');
  const files = pages().filter((page) => /decisions\/\d{4}/.test(page));
  expect(files.filter((page) => !list.includes(`(${page.split('/').at(-1)})`))).toEqual([]);
});

it('reliability.md lists each fault from the field once, with tests that exist', () => {
  const [, section] = read('docs/reliability.md').split('## Faults reported from the field');
  const rows = section!.split('\n').filter((line) => /^\| (?!case \||---)/.test(line));
  expect(rows.length).toBeGreaterThan(50);
  const cases = rows.map((row) => row.split(' | ')[0]!);
  expect(cases.filter((name, index) => cases.indexOf(name) !== index)).toEqual([]);
  const named = rows.flatMap((row) => [...row.matchAll(/`([\w/-]+\.test\.ts)`/g)].map((match) => match[1]!));
  expect(named.filter((path) => !existsSync(join(ROOT, path)))).toEqual([]);
});

it('agent.md has every key of the agent, with its default', () => {
  const section = renderConfigDocs().split('\n## agent\n')[1]!.split('\n## ')[0]!;
  const keys = [...section.matchAll(/^\| (`[^`]+`) +\| [^|]* \| (`[^`]*`|required|) *\|/gm)];
  expect(keys.length).toBeGreaterThan(25);
  // Cells are padded to one width.
  const page = read('docs/agent.md').replaceAll(/ +\|/g, ' |');
  const missing = keys.filter(([, key, value]) => !page.includes(`| ${key} | ${value === '' ? '–' : value} |`));
  expect(missing.map(([, key]) => key)).toEqual([]);
});
