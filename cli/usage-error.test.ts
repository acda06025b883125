import { expect, it } from 'vitest';
import { runProgram } from './program.ts';
import { idleSurroundings } from './testing/idle-surroundings.ts';

async function usage(line: string): Promise<string> {
  const context = idleSurroundings();
  const code = await runProgram(line.split(' '), context);
  expect([code, context.stdout.text]).toEqual([2, '']);
  return context.stderr.text;
}

it.each([
  ['flag_of_one_other_command', 'inspect --verify-reused x', '--verify-reused belongs to accel convert.'],
  ['flag_of_a_subcommand', 'convert --listen x', '--listen belongs to accel export nbd.'],
  ['flag_before_its_subcommand', 'export --listen x nbd', '--listen belongs to accel export nbd.'],
  ['short_flag', 'verify -l x', '-l belongs to accel ls.'],
  ['flag_before_the_command', '--quick verify x', 'Put --quick after the name of the command.'],
  ['flag_of_many_before_the_command', '--plain verify x', 'Put --plain after the name of the command.'],
  ['flag_of_several', 'event --quiet', '--quiet belongs to accel convert, accel ls, accel cat and'],
  ['slip_in_a_subcommand', 'export nbd --lisetn x', 'Did you mean --listen?'],
  ['unlike_any', 'prefetch add --xyzzy-quux', 'See accel prefetch add --help.'],
  ['no_subcommand', 'prefetch', 'record, show, add'],
])('%s', async (_, line, words) => expect(await usage(line)).toContain(words));
