import type { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { fitHelp } from './help-layout.ts';
import { createProgram } from './program.ts';
import { idleSurroundings } from './testing/idle-surroundings.ts';
import { captured } from './testing/sample.ts';

async function helpPages(columns: number): Promise<{ name: string; text: string }[]> {
  const stdout = captured({ columns });
  const program = await createProgram({ ...idleSurroundings(), stdout });
  const all = (command: Command): Command[] => [command, ...command.commands.flatMap(all)];
  return all(program).map((command) => {
    stdout.text = '';
    command.outputHelp();
    return { name: command.name(), text: stdout.text };
  });
}

describe.each([40, 60, 80])('help in %d columns', async (columns) => {
  it.each(await helpPages(columns))('accel $name fits', ({ text }) => {
    // A reference or a flag with its value is not broken: it may be longer than the line by itself.
    const long = text
      .split('\n')
      .filter((line) => line.length > columns && /\S\s+\S/.test(line.trim().replace(/ \\$/, '')));
    expect(long.filter((line) => !/^ *(\$ |-)?\S+( <[^>]+>| \\)?$/.test(line) && !/'[^']{20,}'|"/.test(line))).toEqual(
      [],
    );
  });
});

it('a long reference is on a line of its own that a terminal does not break', () => {
  const text = '\nExamples:\n    $ accel convert registry.example.com/team/app:1.2 -o 1.2_obd\n';
  expect(fitHelp(text, 40).split('\n').slice(2)).toEqual([
    '    $ accel convert \\',
    '     registry.example.com/team/app:1.2 \\',
    '     -o 1.2_obd',
    '',
  ]);
});

it('a command that is wrapped is the same command to a shell', () => {
  const text = '\nExamples:\n  $ accel convert registry.example.com/team/app:1.2 -u ci --json < token\n';
  const narrow = fitHelp(text, 40);
  expect(narrow).toMatch(/ \\\n/);
  expect(narrow.replace(/ \\\n +/g, ' ')).toBe(text);
  expect(fitHelp(text, 100)).toBe(text);
  expect(fitHelp(text, undefined)).toBe(text);
});
