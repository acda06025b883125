/** Mistakes on the command line, explained: the nearest flag, or the command that a flag belongs to. */
import type { Command, CommanderError } from 'commander';
import { AccelError } from '../base/error.ts';

/** Commands that are named as owners of a flag; of a flag that nearly all have, none is of help. */
const MAX_OWNERS = 3;

/**
 * Commander's error as a `usage` error: its message without the prefix, and a hint from the whole tree `program`: the
 * nearest flag of this command, the commands that have such a flag, or the help page to read.
 */
export function usageError(error: CommanderError, args: readonly string[], program: Command): AccelError {
  const { path, command } = calledCommand(args, program);
  const help = `See ${[...path, '--help'].join(' ')}.`;
  if (error.code === 'commander.help')
    return new AccelError('usage', `${path.join(' ')} needs a subcommand`, {
      expected: command.commands.map((child) => child.name()).join(', '),
      hint: help,
    });
  const text = error.message.replace(/^error: /, '');
  const [message = text, suggestion] = text.split(/\n\((?=Did you mean)/);
  const flag = /^unknown option '(-[^'=]+)/.exec(message)?.[1];
  const near = suggestion?.replace(/\)$/, '');
  // Owners of the very flag explain more than a similar flag of this command does.
  const hint = (flag === undefined ? undefined : ownersHint(flag, path, program)) ?? near ?? help;
  return new AccelError('usage', message, { hint, cause: error });
}

/** The command that `args` call, from the root down, as far as its names are right. */
function calledCommand(args: readonly string[], program: Command): { path: string[]; command: Command } {
  const path = [program.name()];
  let command = program;
  for (const arg of args) {
    const child = command.commands.find((candidate) => candidate.name() === arg);
    if (child === undefined) break;
    path.push(arg);
    command = child;
  }
  return { path, command };
}

function ownersHint(flag: string, path: readonly string[], program: Command): string | undefined {
  const owners = ownersOf(flag, program, []).map((names) => names.join(' '));
  if (owners.length === 0) return undefined;
  const called = path.join(' ');
  const below = owners.filter((owner) => owner.startsWith(`${called} `));
  // "accel --json convert": the flag is right, and it comes too early.
  if (below.length > 0 && (below.length > MAX_OWNERS || (below.length === owners.length && path.length === 1)))
    return `Put ${flag} after the name of the command.`;
  const named = (below.length > 0 ? below : owners).slice(0, MAX_OWNERS);
  const more = Math.max(0, (below.length > 0 ? below : owners).length - MAX_OWNERS);
  const others = more === 0 ? '' : ` and ${more} more`;
  return `${flag} belongs to ${named.join(', ')}${others}. For ${called}, see ${called} --help.`;
}

function ownersOf(flag: string, command: Command, above: readonly string[]): string[][] {
  const path = [...above, command.name()];
  const isOwner = command.options.some(({ long, short, hidden }) => !hidden && (long === flag || short === flag));
  return [...(isOwner ? [path] : []), ...command.commands.flatMap((child) => ownersOf(flag, child, path))];
}
