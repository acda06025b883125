/** Properties of every command: help with an example, and a suggestion for a mistyped flag. */
import type { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { createProgram, runProgram } from './program.ts';
import { idleSurroundings } from './testing/idle-surroundings.ts';

async function run(args: readonly string[]) {
  const context = idleSurroundings();
  const code = await runProgram(args, context);
  return { code, out: context.stdout.text, err: context.stderr.text };
}

function below(command: Command, path: readonly string[] = []): { path: readonly string[]; command: Command }[] {
  return command.commands.flatMap((child) => {
    const at = [...path, child.name()];
    return [{ path: at, command: child }, ...below(child, at)];
  });
}

const program = await createProgram(idleSurroundings());
const commands = below(program).map(({ path, command }) => ({ name: path.join(' '), path, command }));

describe.each(commands)('accel $name', ({ name, path, command }) => {
  it('--help has a description and an example of this very command', async () => {
    const { code, out, err } = await run([...path, '--help']);
    expect([code, err]).toEqual([0, '']);
    expect(out).toContain(`Usage: accel ${name}`);
    expect(out.slice(out.indexOf('\nExamples:\n'))).toMatch(new RegExp(`\\$ [^\\n]*accel ${name}( |\\b)`));
    expect(command.summary(), 'the line in the list of commands').not.toBe('');
  });

  const long = command.options
    .filter((option) => !option.hidden)
    .flatMap(({ long }) => (long === undefined ? [] : [long]));

  it.each(long)('a slip in %s suggests it', async (flag) => {
    // The last two letters in the wrong order; the same twice, the last one is missing.
    const swapped = flag.slice(0, -2) + flag.at(-1) + flag.at(-2);
    const wrong = swapped === flag ? flag.slice(0, -1) : swapped;
    const { code, out, err } = await run([...path, wrong]);
    expect([code, out]).toEqual([2, '']);
    expect(err).toContain(`unknown option '${wrong}'`);
    expect(err).toMatch(new RegExp(`to do +Did you mean (one of )?[^?]*${flag}[,?]`));
  });

  it('a flag like no other points at the help of the command', async () => {
    const { code, err } = await run([...path, '--xyzzy-quux']);
    expect(code).toBe(2);
    expect(err).toContain(`See accel ${path.join(' ')} --help`);
  });
});

it.each(['convret', 'verfy', 'inspct', 'exprot', 'completon'])('accel %s suggests a command', async (name) => {
  const { code, err } = await run([name]);
  expect(code).toBe(2);
  expect(err).toContain('Did you mean');
});
