/** Precedence: a flag, then a variable, then the files, then the default; decided for each setting of a call by itself. */
import type { Command } from 'commander';
import { type Given, type Origin, originText, parseGiven, refusedValue } from './given.ts';
import type { Setting } from './setting.ts';

/** Flags of which one makes the other pointless, beside those that commander knows to conflict. */
const EXCLUSIVE: readonly (readonly [string, string])[] = [
  ['--quiet', '--verbose'],
  ['--turboOCI', '--fastoci'],
  ['--no-prefetch', '--prefetch-path'],
];

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

/**
 * Gives each setting the value of the highest layer that has one. Returns the origins by the flag that was given; a
 * setting without one has its default. Throws `usage` for a value that its flag does not take, and for two values of one
 * layer that exclude each other.
 */
export function applySettings({ command, settings, layers, off }: Call): ReadonlyMap<string, Origin> {
  const origins = new Map<string, Origin>();
  const replaced = command.args.length > 0 ? (ARGUMENT_REPLACES.get(command) ?? []) : [];
  const decided = new Set(settings.filter(({ attribute }) => replaced.includes(attribute)).map(({ flag }) => flag));
  const on = new Set<string>();
  const decide = (setting: Setting, isOn: boolean, origin: Origin): void => {
    origins.set(setting.flag, origin);
    decided.add(setting.flag);
    // Off says nothing about the other flag of the attribute, such as the list beside no list.
    if (!isOn) return;
    on.add(setting.flag);
    for (const { flag, attribute } of settings) if (attribute === setting.attribute) decided.add(flag);
  };
  for (const setting of settings) {
    if (off.has(setting.flag)) decide(setting, false, { kind: 'flag' });
    else if (isFlagGiven(setting)) decide(setting, true, { kind: 'flag' });
  }
  for (const layer of layers) {
    const above = new Set(on);
    const taken = layer.filter(({ setting }) => !decided.has(setting.flag) && !excluded(setting, above, settings));
    for (const given of chosen(taken)) {
      // A switch that is off leaves the default, and keeps lower layers from turning it on.
      if (given.value !== false) set(given.setting, parseGiven(given));
      decide(given.setting, given.value !== false, given.origin);
    }
  }
  return origins;
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

function exclude(one: Setting, other: Setting): boolean {
  const names = ({ option }: Setting): readonly string[] =>
    (option as unknown as { conflictsWith: readonly string[] }).conflictsWith;
  return (
    names(one).includes(other.attribute) ||
    names(other).includes(one.attribute) ||
    EXCLUSIVE.some((pair) => pair.includes(one.flag) && pair.includes(other.flag))
  );
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
