/** `accel completion`: what a shell needs to complete the command line of accel. */
import { Argument, Command } from 'commander';
import type { CompletionCommand } from '../completion/model.ts';
import type { CommandContext } from '../context.ts';

const EXAMPLES = `
Examples:
  bash, in ~/.bashrc:
    $ source <(accel completion bash)
  zsh, into a folder of fpath:
    $ accel completion zsh > ~/.zfunc/_accel
  fish:
    $ accel completion fish > ~/.config/fish/completions/accel.fish
  PowerShell, in $PROFILE:
    $ accel completion powershell | Out-String | Invoke-Expression
`;

/** Writers of the scripts, by shell. */
const SHELLS = {
  bash: async (model: CompletionCommand) => (await import('../completion/bash.ts')).bashCompletion(model),
  zsh: async (model: CompletionCommand) => (await import('../completion/zsh.ts')).zshCompletion(model),
  fish: async (model: CompletionCommand) => (await import('../completion/fish.ts')).fishCompletion(model),
  powershell: async (model: CompletionCommand) =>
    (await import('../completion/powershell.ts')).powershellCompletion(model),
} as const;

/** Declares the command. */
export function completionCommand(context: CommandContext): Command {
  return new Command('completion')
    .summary('print the completion script of a shell')
    .description(
      'Prints a script that lets a shell complete commands, flags and their values. The script holds all that it needs: ' +
        'completing does not start accel. Print it again after an update.',
    )
    .addArgument(new Argument('<shell>', 'shell to write for').choices(Object.keys(SHELLS)))
    .addHelpText('after', EXAMPLES)
    .action((shell: keyof typeof SHELLS) => runCompletion(shell, context));
}

async function runCompletion(shell: keyof typeof SHELLS, context: CommandContext): Promise<void> {
  const { completionModel } = await import('../completion/model.ts');
  context.stdout.write(await SHELLS[shell](completionModel(await context.loadProgram())));
}
