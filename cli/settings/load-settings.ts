/** The settings of a call: read from variables and files, applied to the parsed flags. */
import type { Command } from 'commander';
import type { Environment } from '../terminal.ts';
import { applySettings } from './apply.ts';
import type { Origin } from './given.ts';
import { runnableCommands, type Setting, settingsOf } from './setting.ts';
import { foreignVariables, misspelledVariables, readVariables } from './variables.ts';

/** Surroundings of {@link loadSettings}. */
export interface SettingSources {
  readonly env: Environment;
  /** Builds the whole command tree; called only for a name that the called command does not have. */
  readonly loadProgram: () => Promise<Command>;
  /** Long flags that the command line turned off: `--force=false`. */
  readonly off: ReadonlySet<string>;
}

/** The settings of a call, and where each that has no default comes from. */
export interface LoadedSettings {
  readonly settings: readonly Setting[];
  /** By flag; a flag that is not here has its default. */
  readonly origins: ReadonlyMap<string, Origin>;
  /** Names that are probably mistakes. */
  readonly warnings: readonly string[];
}

/** Gives the parsed `command` the values that variables and files have for it. Throws `usage`. */
export async function loadSettings(command: Command, sources: SettingSources): Promise<LoadedSettings> {
  const settings = settingsOf(command);
  if (settings.length === 0) return { settings, origins: new Map(), warnings: [] };
  const { env, off } = sources;
  const layers = [readVariables(settings, env)];
  const origins = applySettings({ command, settings, layers, off });
  const foreign = foreignVariables(settings, env);
  const warnings = foreign.length === 0 ? [] : misspelledVariables(foreign, await allVariables(sources));
  return { settings, origins, warnings };
}

async function allVariables({ loadProgram }: SettingSources): Promise<string[]> {
  const names = runnableCommands(await loadProgram()).flatMap((command) =>
    settingsOf(command).map(({ variable }) => variable),
  );
  return [...new Set(names)].sort();
}
