/** Words that a shell can complete, from commander's own tree: the one source of help, docs/cli.md and completions. */
import type { Argument, Command, Option } from 'commander';

/** Candidates for a value. */
export type Values =
  | { readonly kind: 'words'; readonly words: readonly string[] }
  | { readonly kind: 'files' | 'directories' }
  /** Nothing that a shell could know, such as a tag. */
  | { readonly kind: 'other'; readonly name: string };

/** A flag. */
export interface CompletionOption {
  /** `-r` and `--repository`, or the long one alone. */
  readonly names: readonly string[];
  readonly description: string;
  /** Undefined when it takes no value. */
  readonly value: Values | undefined;
}

/** A command with those below it. */
export interface CompletionCommand {
  /** From the program's name down, such as `['accel', 'export', 'nbd']`. */
  readonly path: readonly string[];
  readonly summary: string;
  readonly options: readonly CompletionOption[];
  readonly operands: readonly Values[];
  readonly commands: readonly CompletionCommand[];
}

/** Reads the tree below a command; hidden commands and flags stay out. */
export function completionModel(command: Command, above: readonly string[] = []): CompletionCommand {
  const help = command.createHelp();
  const path = [...above, command.name()];
  const visible = help.visibleCommands(command);
  const names = visible.map((child) => child.name());
  return {
    path,
    summary: command.summary() || command.description(),
    options: help.visibleOptions(command).map(optionOf),
    operands: command.registeredArguments.map(operandOf),
    commands: visible.map((child) => {
      const model = completionModel(child, path);
      // The command that commander adds by itself takes the names of the others.
      return child.name() === 'help' ? { ...model, operands: [{ kind: 'words', words: names }] } : model;
    }),
  };
}

/** A command and all below it, each before those that it holds. */
export function flatten(command: CompletionCommand): CompletionCommand[] {
  return [command, ...command.commands.flatMap(flatten)];
}

function optionOf(option: Option): CompletionOption {
  const names = [option.short, option.long].filter((name) => name != null);
  const takesValue = option.required || option.optional;
  const placeholder = /[<[]([^>\]]+)[>\]]$/.exec(option.flags)?.[1] ?? 'value';
  return {
    names,
    description: option.description,
    value: takesValue ? valuesOf(option.argChoices, placeholder) : undefined,
  };
}

function operandOf(argument: Argument): Values {
  return valuesOf(argument.argChoices, argument.name());
}

function valuesOf(choices: readonly string[] | undefined, name: string): Values {
  if (choices !== undefined) return { kind: 'words', words: choices };
  if (name === 'dir') return { kind: 'directories' };
  return ['file', 'path', 'local', 'cert:key'].includes(name) ? { kind: 'files' } : { kind: 'other', name };
}
