/** The settings of a call: read from variables and files, applied to the parsed flags. */
import type { Command } from 'commander';
import type { CommandContext } from '../context.ts';
import { type Applied, applySettings } from './apply.ts';
import { type FileSearch, type FoundFile, findFiles } from './find-files.ts';
import type { Given } from './given.ts';
import { commandName, runnableCommands, type Setting, settingsOf } from './setting.ts';
import { foreignVariables, misspelledVariables, readVariables } from './variables.ts';

/** Surroundings of {@link loadSettings}. */
export interface SettingSources extends FileSearch {
  /** Builds the whole command tree; called only for a name that the called command does not have. */
  readonly loadProgram: () => Promise<Command>;
  /** Long flags that the command line turned off: `--force=false`. */
  readonly off: ReadonlySet<string>;
}

/** The settings of a call. */
export interface LoadedSettings {
  readonly settings: readonly Setting[];
  /** The settings that do not have their default, by flag. */
  readonly values: ReadonlyMap<string, Applied>;
  /** Files that were read; the configuration of a server is left out. */
  readonly files: readonly FoundFile[];
  /** Names that are probably mistakes. */
  readonly warnings: readonly string[];
}

/** The sources of a run. `off`: long flags that the command line turned off. */
export function settingSources(
  { env, cwd, loadProgram }: Pick<CommandContext, 'env' | 'cwd' | 'loadProgram'>,
  off: ReadonlySet<string> = new Set(),
): SettingSources {
  return { env, cwd: cwd ?? process.cwd(), platform: process.platform, loadProgram, off };
}

/** Gives the parsed `command` the values that variables and files have for it. Throws `usage`. */
export async function loadSettings(command: Command, sources: SettingSources): Promise<LoadedSettings> {
  const settings = settingsOf(command);
  if (settings.length === 0) return { settings, values: new Map(), files: [], warnings: [] };
  const { env, off } = sources;
  const { layers, files } = await readFiles(command, settings, sources);
  const values = applySettings({ command, settings, layers: [readVariables(settings, env), ...layers], off });
  const foreign = foreignVariables(settings, env);
  const warnings = foreign.length === 0 ? [] : misspelledVariables(foreign, await allVariables(sources));
  return { settings, values, files, warnings };
}

async function readFiles(
  command: Command,
  settings: readonly Setting[],
  sources: SettingSources,
): Promise<{ readonly layers: readonly (readonly Given[])[]; readonly files: readonly FoundFile[] }> {
  const found = findFiles(sources);
  if (found.length === 0) return { layers: [], files: [] };
  const [{ parseFile }, { checkFile, fileValues }] = await Promise.all([
    import('./parse-file.ts'),
    import('./file-values.ts'),
  ]);
  const layers: (readonly Given[])[] = [];
  const files: FoundFile[] = [];
  for (const file of found) {
    const parsed = await parseFile(file.path);
    if (parsed === undefined) continue;
    const values = fileValues(file, parsed, commandName(command), settings);
    if (values.hasOthers) checkFile(file, parsed, await sources.loadProgram());
    layers.push(...values.layers);
    files.push(file);
  }
  return { layers, files };
}

async function allVariables({ loadProgram }: SettingSources): Promise<string[]> {
  const names = runnableCommands(await loadProgram()).flatMap((command) =>
    settingsOf(command).map(({ variable }) => variable),
  );
  return [...new Set(names)].sort();
}
