/** Values of flags from environment variables. */
import { nearest } from '../../base/nearest.ts';
import type { Environment } from '../terminal.ts';
import { type Given, refusedValue } from './given.ts';
import { type Setting, VARIABLE_PREFIX } from './setting.ts';

/** The variable that chooses the project file. */
export const PROJECT_FILE_VARIABLE = 'ACCEL_PROJECT_FILE';

/**
 * Names of others that begin like ours: a script's version to run, a cache, sockets that a server inherits, and what the
 * tests of this project read. Any other unknown one costs a run the whole command tree, in which a near name is sought.
 */
const NAMES_OF_OTHERS: ReadonlySet<string> = new Set([
  PROJECT_FILE_VARIABLE,
  'ACCEL_VERSION',
  'ACCEL_CACHE',
  'ACCEL_SOCKETS',
  'ACCEL_CLI',
  'ACCEL_MANY_IMAGES',
  'ACCEL_REAL_IMAGE',
  'ACCEL_SIGKILLS',
]);

/** Variables that Kubernetes sets in each container for a Service named accel or accel-…. */
const SERVICE_VARIABLE = /^ACCEL_(?:\w+_)?(?:SERVICE_(?:HOST|PORT)|PORT)(?:_\w+)?$/;

/** The values that variables give to `settings`. An empty variable counts as not set. */
export function readVariables(settings: readonly Setting[], env: Environment): Given[] {
  return settings.flatMap((setting) => {
    const text = env[setting.variable];
    if (text === undefined || text === '' || SERVICE_VARIABLE.test(setting.variable)) return [];
    const given = { setting, origin: { kind: 'variable', variable: setting.variable } } as const;
    return [{ ...given, value: givenValue(given, text) }];
  });
}

/** Names of set variables that begin with `ACCEL_` and are none of `settings` and of no known other meaning. */
export function foreignVariables(settings: readonly Setting[], env: Environment): string[] {
  const known = new Set(settings.map(({ variable }) => variable));
  return Object.keys(env).filter(
    (name) =>
      name.startsWith(VARIABLE_PREFIX) &&
      !known.has(name) &&
      !NAMES_OF_OTHERS.has(name) &&
      !SERVICE_VARIABLE.test(name) &&
      (env[name] ?? '') !== '',
  );
}

/** A warning for each of `names` that is almost a variable of `known`, the names of all commands. */
export function misspelledVariables(names: readonly string[], known: readonly string[]): string[] {
  const words = known.map((name) => name.slice(VARIABLE_PREFIX.length));
  return names.flatMap((name) => {
    if (known.includes(name)) return [];
    const meant = nearest(name.slice(VARIABLE_PREFIX.length), words, 1);
    return meant === undefined ? [] : [`${name} is not a variable of accel; did you mean ${VARIABLE_PREFIX}${meant}?`];
  });
}

function givenValue(given: Omit<Given, 'value'>, text: string): Given['value'] {
  const { takes, repeatable } = given.setting;
  const on = switchOf(text);
  if (takes === 'switch') {
    if (on !== undefined) return on;
    throw refusedValue(given, 'is no switch', { expected: 'true, false, 1 or 0', found: text });
  }
  if (takes === 'optional' && on !== undefined) return on;
  return repeatable ? listOf(text) : [text];
}

/** On or off: `true`, `1`, `false`, `0`. */
export function switchOf(text: string): boolean | undefined {
  if (text === 'true' || text === '1') return true;
  return text === 'false' || text === '0' ? false : undefined;
}

/** Commas separate the values of a repeatable flag; where there are lines, lines do, and a value may contain commas. */
function listOf(text: string): string[] {
  const separator = text.includes('\n') ? /\r?\n/ : ',';
  return text.split(separator).filter((part) => part.trim() !== '');
}
