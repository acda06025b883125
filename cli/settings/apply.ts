/** Precedence: a flag, then a variable, then the files, then the default; decided for each setting of a call by itself. */
import type { Command } from 'commander';
import { isLz4Level, LZ4_LEVELS } from '../../formats/kernels/lz4-levels.ts';
import { applies, exclude, levelApplies } from './combinations.ts';
import { type Given, type Origin, originText, parseGiven, refusedValue } from './given.ts';
import type { Setting } from './setting.ts';

const ARGUMENT_REPLACES = new WeakMap<Command, readonly string[]>();

/** Declares the attributes of `command` that its first argument replaces: with it, variables and files do not set them. */
export function argumentReplaces(command: Command, attributes: readonly string[]): Command {
  ARGUMENT_REPLACES.set(command, attributes);
  return command;
}

/** The settings of a call, and the values that they may get. */
export interface Call {
  readonly command: Command;
  readonly settings: readonly Setting[];
  /** Values in order of precedence: each layer loses against those before it. */
  readonly layers: readonly (readonly Given[])[];
  /** Long flags that the command line turned off: `--force=false`. */
  readonly off: ReadonlySet<string>;
}

/** A setting that does not have its default. */
export interface Applied {
  readonly origin: Origin;
  /** As it was written; undefined for a flag of the command line. */
  readonly given?: Given;
  /** As the command gets it. */
  readonly value?: unknown;
}

/**
 * Gives each setting the value of the highest layer that has one. Returns them by flag; a setting that is not among them
 * has its default. A value that says nothing beside the others (a level without its algorithm) is left out. Throws `usage`
 * for a value that its flag does not take, for two values of one layer that exclude each other, and for a level that LZ4
 * lacks in the layer that names LZ4.
 */
export function applySettings({ command, settings, layers, off }: Call): ReadonlyMap<string, Applied> {
  const applied = new Map<string, Applied>();
  const replaced = command.args.length > 0 ? (ARGUMENT_REPLACES.get(command) ?? []) : [];
  const decided = new Set(settings.filter(({ attribute }) => replaced.includes(attribute)).map(({ flag }) => flag));
  const on = new Set<string>();
  const decide = (setting: Setting, isOn: boolean, how: Applied): void => {
    applied.set(setting.flag, how);
    decided.add(setting.flag);
    // Off says nothing about the other flag of the attribute, such as the list beside no list.
    if (!isOn) return;
    on.add(setting.flag);
    for (const { flag, attribute } of settings) if (attribute === setting.attribute) decided.add(flag);
  };
  for (const setting of settings) {
    if (off.has(setting.flag)) decide(setting, false, { origin: { kind: 'flag' } });
    else if (isFlagGiven(setting)) decide(setting, true, { origin: { kind: 'flag' } });
  }
  const toSet: { readonly setting: Setting; readonly value: unknown; readonly ofPlace: unknown }[] = [];
  for (const layer of layers) {
    const above = new Set(on);
    const taken = layer.filter(({ setting }) => !decided.has(setting.flag) && !excluded(setting, above, settings));
    for (const given of chosen(taken)) {
      const value = parseGiven(given);
      // A switch that is off leaves the default, and keeps lower layers from turning it on.
      if (given.value !== false) toSet.push({ setting: given.setting, value, ofPlace: algorithmOf(layer) });
      decide(given.setting, given.value !== false, { origin: given.origin, given, value });
    }
  }
  const inEffect = toSet.find(({ setting }) => setting.flag === '--algorithm')?.value ?? command.opts().algorithm;
  for (const { setting, value, ofPlace } of toSet) {
    const says = setting.flag === '--level' ? levelApplies(value, { inEffect, ofPlace }) : applies(setting, on);
    if (says) set(setting, value);
    const given = applied.get(setting.flag)?.given;
    if (says && given !== undefined && setting.flag === '--level' && inEffect === 'lz4' && !isLz4Level(Number(value)))
      throw refusedValue(given, 'has a level that LZ4 does not have', {
        expected: `${LZ4_LEVELS.lowest} to ${LZ4_LEVELS.highest}`,
        found: String(value),
        hint: 'Leave it out for the fastest compression, or set the algorithm zstd, which has levels 1 to 22.',
      });
  }
  return applied;
}

/** The algorithm that a layer names. */
function algorithmOf(layer: readonly Given[]): unknown {
  const given = layer.find(({ setting }) => setting.flag === '--algorithm');
  return given === undefined || given.value === false ? undefined : parseGiven(given);
}

function isFlagGiven({ owners, attribute, option }: Setting): boolean {
  return owners.some(
    (owner) =>
      owner.getOptionValueSource(attribute) === 'cli' && option.negate === (owner.getOptionValue(attribute) === false),
  );
}

function set({ owners, attribute }: Setting, value: unknown): void {
  for (const owner of owners) owner.setOptionValueWithSource(attribute, value, 'config');
}

/** Whether a higher layer gives a flag that this one does not go with. */
function excluded(setting: Setting, given: ReadonlySet<string>, settings: readonly Setting[]): boolean {
  return settings.some((other) => given.has(other.flag) && exclude(setting, other));
}

/** The values of one layer. Throws `usage` for two that exclude each other. */
function chosen(layer: readonly Given[]): readonly Given[] {
  const on = layer.filter(({ value }) => value !== false);
  for (const given of on) {
    const other = on.find(
      ({ setting }) =>
        setting !== given.setting && (setting.attribute === given.setting.attribute || exclude(setting, given.setting)),
    );
    if (other === undefined) continue;
    throw refusedValue(given, `does not go with ${other.setting.flag}, which is set too`, {
      found: `${other.setting.flag} from ${originText(other.origin)}`,
      hint: 'Leave one of them out.',
    });
  }
  return layer;
}
