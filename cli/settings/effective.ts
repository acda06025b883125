/** The settings in effect for a command, as `accel config` prints them. */

import { type AccelError, withPlace } from '../../base/error.ts';
import { adviceText, type Words } from '../option-words.ts';
import { type Origin, originText } from './given.ts';
import type { LoadedSettings } from './load-settings.ts';
import type { Setting } from './setting.ts';

/** A setting with its value and origin. */
export interface EffectiveSetting {
  readonly flag: string;
  readonly variable: string;
  readonly key: string;
  readonly origin: Origin;
  /** The value as it was written, or as the help prints the default; undefined for a flag that is not given. */
  readonly text: string | undefined;
  /** The value as the command gets it; of a user without the password. */
  readonly value: unknown;
}

/** All settings of a call; flags that are hidden in the help only where they have a value. */
export function effectiveSettings({ settings, values }: LoadedSettings): EffectiveSetting[] {
  return settings.flatMap((setting): EffectiveSetting[] => {
    const { flag, variable, key, option, secret } = setting;
    const known = values.get(flag);
    if (known === undefined) {
      if (option.hidden) return [];
      const value = defaultOf(setting);
      return [{ flag, variable, key, origin: { kind: 'default' }, text: defaultText(setting), value }];
    }
    const { origin, given } = known;
    const written = given?.value ?? true;
    const text = typeof written === 'boolean' ? String(written) : written.join(', ');
    return [
      secret
        ? { flag, variable, key, origin, text: masked(text), value: masked(text) }
        : { flag, variable, key, origin, text, value: typeof written === 'boolean' ? written : known.value },
    ];
  });
}

/** A switch is off by default, under the name of its flag. */
function defaultOf({ takes, option }: Setting): unknown {
  return takes === 'switch' ? false : option.defaultValue;
}

function defaultText({ takes, option }: Setting): string | undefined {
  if (takes === 'switch') return 'false';
  if (option.defaultValueDescription !== undefined) return option.defaultValueDescription;
  return option.defaultValue === undefined ? undefined : String(option.defaultValue);
}

/** The name of a user without the password; nothing of a text that may be all secret. */
function masked(text: string): string {
  const colon = text.indexOf(':');
  return colon < 0 ? text : `${text.slice(0, colon)}:***`;
}

/**
 * Names the places of the settings that a `usage` error speaks of: with no such flag on the command line its reader does
 * not know where the value comes from. Any other error, and one that names its place, stays as it is.
 */
export function withOrigins(error: AccelError, { settings, values }: LoadedSettings, words: Words): AccelError {
  if (error.code !== 'usage' || error.where.file !== undefined) return error;
  const { message, expected, found, advice } = error;
  const hint = advice === undefined ? '' : adviceText(advice, words);
  const named = new Set(`${message} ${expected ?? ''} ${found ?? ''} ${hint}`.split(/[^\w-]+/));
  const origins = settings.flatMap(({ flag, option: { short } }) => {
    const origin = values.get(flag)?.origin;
    const isNamed = named.has(flag) || named.has(short ?? flag);
    return origin === undefined || origin.kind === 'flag' || !isNamed ? [] : [`${flag} from ${originText(origin)}`];
  });
  if (origins.length === 0) return error;
  return withPlace(error, { settings: origins.join(', ') });
}
