/** A value that a variable or a file gives to a setting, and how it becomes the value of the flag. */
import { CommanderError } from 'commander';
import { AccelError, asAccelError, type ErrorPlace } from '../../base/error.ts';
import type { Setting } from './setting.ts';

/** The place that a value comes from. */
export type Origin =
  | { readonly kind: 'flag' }
  | { readonly kind: 'variable'; readonly variable: string }
  | {
      readonly kind: 'project' | 'user';
      /** Path of the file. */
      readonly file: string;
      readonly line: number;
      readonly column: number;
    }
  | { readonly kind: 'default' };

/** A value as it was written. */
export interface Given {
  readonly setting: Setting;
  /** Whether a switch is on, or the texts of a value: one, or as many as a repeatable flag has. */
  readonly value: boolean | readonly string[];
  readonly origin: Origin;
}

/** An origin in a few words: `ACCEL_BS`, `accel.yaml:3`, `default`. */
export function originText(origin: Origin): string {
  switch (origin.kind) {
    case 'variable':
      return origin.variable;
    case 'project':
    case 'user':
      return `${origin.file}:${origin.line}`;
    default:
      return origin.kind;
  }
}

/** The error for a value that is not accepted: it names the variable, or file, line, column and key. */
export function refusedValue(
  { setting, origin }: Pick<Given, 'setting' | 'origin'>,
  message: string,
  details: ConstructorParameters<typeof AccelError>[2] = {},
): AccelError {
  const inFile = origin.kind === 'project' || origin.kind === 'user';
  const subject = inFile ? `the key ${setting.key}` : `the environment variable ${setting.variable}`;
  const where: ErrorPlace = inFile ? { file: origin.file, line: origin.line, column: origin.column } : {};
  return new AccelError('usage', `${subject} ${message}`, { ...details, where });
}

/** The value of a flag from its texts, through the flag's own parser. Throws `usage` that names the origin. */
export function parseGiven(given: Given): unknown {
  const { setting, value } = given;
  const { option } = setting;
  if (typeof value === 'boolean') return option.negate ? !value : value;
  // A list without elements takes the place of a lower one.
  if (value.length === 0) return option.defaultValue;
  try {
    if (option.parseArg === undefined) return setting.repeatable ? value : value.at(-1);
    return value.reduce<unknown>((previous, text) => option.parseArg!(text, previous), undefined);
  } catch (error) {
    throw notAccepted(given, value.join(','), error);
  }
}

function notAccepted(given: Given, text: string, error: unknown): AccelError {
  const { option, flag } = given.setting;
  const found = given.setting.secret ? undefined : text;
  const known = asAccelError(error);
  const expected = error instanceof CommanderError ? option.argChoices?.join(', ') : known.expected;
  if (!(error instanceof CommanderError) && known.code !== 'usage') return known;
  return refusedValue(given, `has a value that ${flag} does not take`, {
    ...(expected === undefined ? {} : { expected }),
    ...(found === undefined ? {} : { found }),
    cause: error,
  });
}
