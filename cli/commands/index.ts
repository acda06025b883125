/** The commands of accel by name, each loaded only when it is called, listed or described. */
import type { Command } from 'commander';
import type { CommandContext } from '../context.ts';

/** Declares a command; loads what that takes. */
type CommandLoader = (context: CommandContext) => Promise<Command>;

/** In the order in which help and docs/cli.md list them. */
export const COMMANDS: ReadonlyMap<string, CommandLoader> = new Map<string, CommandLoader>([
  ['convert', async (context) => (await import('./convert.ts')).convertCommand(context)],
  ['verify', async (context) => (await import('./verify.ts')).verifyCommand(context)],
  ['inspect', async (context) => (await import('./inspect.ts')).inspectCommand(context)],
  ['ls', async (context) => (await import('./ls.ts')).lsCommand(context)],
  ['cat', async (context) => (await import('./cat.ts')).catCommand(context)],
  ['cp', async (context) => (await import('./cp.ts')).cpCommand(context)],
  ['export', async (context) => (await import('./export.ts')).exportCommand(context)],
  ['prefetch', async (context) => (await import('./prefetch.ts')).prefetchCommand(context)],
  ['prune', async (context) => (await import('./prune.ts')).pruneCommand(context)],
  ['report', async (context) => (await import('./report.ts')).reportCommand(context)],
  ['event', async (context) => (await import('./event.ts')).eventCommand(context)],
  ['serve', async (context) => (await import('./serve.ts')).serveCommand(context)],
  ['agent', async (context) => (await import('./agent.ts')).agentCommand(context)],
  ['config', async (context) => (await import('./show-config.ts')).configCommand(context)],
  ['version', async (context) => (await import('./version.ts')).versionCommand(context)],
  ['completion', async (context) => (await import('./completion.ts')).completionCommand(context)],
]);

/** The commands that a call needs: the one that it names, or all, for help, suggestions and the documentation. */
export function loadCommands(context: CommandContext, named?: string): Promise<Command[]> {
  const one = named === undefined ? undefined : COMMANDS.get(named);
  return Promise.all((one === undefined ? [...COMMANDS.values()] : [one]).map((load) => load(context)));
}
