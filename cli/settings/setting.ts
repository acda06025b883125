/** Settings: every flag of a command as its variable and its key of a file, read from commander's own options. */
import type { Command, Option } from 'commander';
import { isRepeatable } from '../parse-values.ts';

/** A flag, and the other ways to give its value. */
export interface Setting {
  /** The long flag, such as `--root-ca` or `--no-cache`. */
  readonly flag: string;
  /** The variable: `ACCEL_ROOT_CA`, `ACCEL_NO_CACHE`. */
  readonly variable: string;
  /** The key of a file: `rootCa`, `noCache`. */
  readonly key: string;
  /** Name of the value among the parsed flags; `--prefetch` and `--no-prefetch` share theirs. */
  readonly attribute: string;
  /** A `switch` is given or not, a `value` needs one, and an `optional` one may be given without. */
  readonly takes: 'switch' | 'value' | 'optional';
  /** Whether the flag may be given more than once. */
  readonly repeatable: boolean;
  /** Whether the value may contain a password. */
  readonly secret: boolean;
  /** The option itself: its parser, its choices, its default. */
  readonly option: Option;
  /** The commands that declare it: the called one, and those above it. */
  readonly owners: readonly Command[];
}

/** Beginning of each variable. */
export const VARIABLE_PREFIX = 'ACCEL_';

/** Flags whose value may hold a password or a token. */
const SECRET_FLAGS: ReadonlySet<string> = new Set(['--username', '--target-username', '--db-str']);

/** The settings of a call of `command`: its own flags, then those of the commands above it, the program's excepted. */
export function settingsOf(command: Command): Setting[] {
  const found = new Map<string, Setting>();
  for (let owner: Command | null = command; owner?.parent != null; owner = owner.parent) {
    for (const option of owner.options) {
      if (option.long === undefined) continue;
      const same = found.get(option.long);
      if (same === undefined) found.set(option.long, settingOf(option, owner));
      else found.set(option.long, { ...same, owners: [...same.owners, owner] });
    }
  }
  return [...found.values()];
}

/** The name of a command as files and messages have it: `convert`, `prefetch add`. */
export function commandName(command: Command): string {
  const names: string[] = [];
  for (let at: Command | null = command; at?.parent != null; at = at.parent) names.unshift(at.name());
  return names.join(' ');
}

/** The commands at or below `command` that have flags or do something, each with its parents before it. */
export function runnableCommands(command: Command): Command[] {
  return command.commands.flatMap((child) => [
    ...(child.options.length > 0 || child.commands.length === 0 ? [child] : []),
    ...runnableCommands(child),
  ]);
}

function settingOf(option: Option, owner: Command): Setting {
  const name = option.long!.slice(2);
  return {
    flag: option.long!,
    variable: VARIABLE_PREFIX + name.replaceAll('-', '_').toUpperCase(),
    key: name.replace(/-([a-z\d])/g, (_, letter: string) => letter.toUpperCase()),
    attribute: option.attributeName(),
    takes: option.required ? 'value' : option.optional ? 'optional' : 'switch',
    repeatable: option.variadic || isRepeatable(option.parseArg),
    secret: SECRET_FLAGS.has(option.long!),
    option,
    owners: [owner],
  };
}
