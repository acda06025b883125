/** The inputs of the Action: what the runner passes as INPUT_…, checked. */
import { readFileSync, statSync } from 'node:fs';
import { AccelError } from '../base/error.ts';
import { parseDuration, parseRate } from '../cli/parse-values.ts';
import type { RegistryChoice } from '../cli/registry-flags.ts';
import type { Environment } from '../cli/terminal.ts';
import type { Mode } from '../converter/options.ts';
import { type Receiver, receiverUrl } from '../notify/notify.ts';

/** Extent of the comparison of an accelerated image with its source. */
export type VerifyMode = 'off' | 'quick' | 'full';

/** The inputs; what was not given is undefined. */
export interface ActionInputs {
  readonly repository: string | undefined;
  readonly tag: string | undefined;
  readonly digest: string | undefined;
  readonly outputTag: string | undefined;
  readonly targetRepository: string | undefined;
  readonly mode: Mode | undefined;
  readonly platforms: readonly string[];
  readonly registry: RegistryChoice;
  /** Access to the target's registry, where it has a user of its own. */
  readonly targetRegistry: RegistryChoice | undefined;
  /** Milliseconds that the whole step may take. */
  readonly timeout: number | undefined;
  readonly referrer: boolean;
  readonly copyReferrers: boolean;
  readonly force: boolean;
  readonly cache: boolean;
  /** Make the list of piece hashes of each layer. */
  readonly pieceList: boolean;
  /** Key of the record. */
  readonly recordKey: Uint8Array | undefined;
  readonly verifyReused: boolean;
  /** Drop the prefetch list of the image that is replaced. */
  readonly noPrefetch: boolean;
  /** Paths to prefetch, one an entry; undefined when the input was not given. */
  readonly prefetch: readonly string[] | undefined;
  readonly expression: string | undefined;
  readonly verify: VerifyMode;
  readonly notify: Receiver | undefined;
  readonly failOnSkip: boolean;
}

/** The names of the inputs, as action.yml declares them. */
export const INPUT_NAMES = [
  'repository',
  'tag',
  'digest',
  'output-tag',
  'target-repository',
  'mode',
  'platforms',
  'username',
  'password',
  'target-username',
  'target-password',
  'plain',
  'insecure',
  'root-ca',
  'min-rate',
  'max-wait',
  'timeout',
  'referrer',
  'copy-referrers',
  'force',
  'cache',
  'piece-list',
  'record-key',
  'verify-reused',
  'prefetch',
  'no-prefetch',
  'expression',
  'verify',
  'notify-url',
  'notify-secret',
  'notify-plain',
  'fail-on-skip',
] as const;

/** The name of an input. */
export type InputName = (typeof INPUT_NAMES)[number];

/** The inputs that hold secrets. */
const SECRETS: readonly InputName[] = ['password', 'target-password', 'record-key', 'notify-secret'];

/** Reads the inputs. Throws `usage` with the name of the input that is wrong, and never with a secret. */
export function readInputs(env: Environment): ActionInputs {
  const get = (name: InputName): string | undefined => textOf(env, name);
  const minRate = parsed(get, 'min-rate', parseRate);
  const maxWait = parsed(get, 'max-wait', (name) => parseDuration(name, 0));
  const registry = {
    ...credential(get, 'username', 'password'),
    ...flag(get, 'plain'),
    ...flag(get, 'insecure'),
    ...(get('root-ca') === undefined ? {} : { rootCa: lines(get('root-ca')) }),
    ...(minRate === undefined ? {} : { minRate }),
    ...(maxWait === undefined ? {} : { maxWait }),
  };
  const target = credential(get, 'target-username', 'target-password');
  if (target.username !== undefined && get('target-repository') === undefined)
    throw new AccelError('usage', 'target-username was given without target-repository');
  return {
    repository: get('repository'),
    tag: get('tag'),
    digest: get('digest'),
    outputTag: get('output-tag'),
    targetRepository: get('target-repository'),
    mode: choice(get, 'mode', ['full', 'index-only']),
    platforms: lines(get('platforms'))
      .flatMap((line) => line.split(',').map((one) => one.trim()))
      .filter(Boolean),
    registry,
    targetRegistry: target.username === undefined ? undefined : { ...registry, ...target },
    timeout: parsed(get, 'timeout', parseDuration),
    referrer: boolean(get, 'referrer', false),
    copyReferrers: boolean(get, 'copy-referrers', false),
    force: boolean(get, 'force', false),
    cache: boolean(get, 'cache', true),
    pieceList: boolean(get, 'piece-list', true),
    recordKey: keyOf(get('record-key')),
    verifyReused: boolean(get, 'verify-reused', false),
    noPrefetch: boolean(get, 'no-prefetch', false),
    prefetch: prefetchOf(get('prefetch')),
    expression: get('expression'),
    verify: choice(get, 'verify', ['off', 'quick', 'full']) ?? 'quick',
    notify: notifyOf(get),
    failOnSkip: boolean(get, 'fail-on-skip', false),
  };
}

/** The secrets among the inputs, for the runner to mask; read without checking anything. */
export function secretsOf(env: Environment): string[] {
  return SECRETS.flatMap((name) => textOf(env, name) ?? []);
}

type Get = (name: InputName) => string | undefined;

/** The runner passes an input as INPUT_ and its name in upper case; one that was not given is an empty text. */
function textOf(env: Environment, name: InputName): string | undefined {
  const value = env[`INPUT_${name.toUpperCase()}`]?.trim();
  return value === '' ? undefined : value;
}

function lines(text: string | undefined): string[] {
  return (text ?? '').split(/\r?\n/).flatMap((line) => line.trim() || []);
}

/** The value of an input that the command line has as a flag, parsed in the same way. */
function parsed(get: Get, name: InputName, parser: (name: string) => (text: string) => number): number | undefined {
  const text = get(name);
  return text === undefined ? undefined : parser(`the input ${name}`)(text);
}

function choice<T extends string>(get: Get, name: InputName, values: readonly T[]): T | undefined {
  const text = get(name);
  if (text === undefined) return undefined;
  const found = values.find((value) => value === text);
  if (found !== undefined) return found;
  throw wrong(name, values.join(', '), text);
}

/** The words that YAML 1.2 knows, as the runner's own toolkit reads them. */
function boolean(get: Get, name: InputName, otherwise: boolean): boolean {
  const text = get(name);
  if (text === undefined) return otherwise;
  if (/^(true|True|TRUE)$/.test(text)) return true;
  if (/^(false|False|FALSE)$/.test(text)) return false;
  throw wrong(name, 'true or false', text);
}

function flag<N extends 'plain' | 'insecure'>(get: Get, name: N): Partial<Record<N, boolean>> {
  return boolean(get, name, false) ? ({ [name]: true } as Record<N, boolean>) : {};
}

function credential(
  get: Get,
  user: InputName,
  secret: InputName,
): { username?: string; password?: string; credentialsFrom?: string } {
  const username = get(user);
  const password = get(secret);
  if (username === undefined && password === undefined) return {};
  if (username !== undefined && password !== undefined)
    return { username, password, credentialsFrom: `the inputs ${user} and ${secret}` };
  const missing = username === undefined ? user : secret;
  throw new AccelError('usage', `the input ${missing} is missing`, {
    hint: `Give both ${user} and ${secret}, or neither: then the credentials of docker/login-action are used.`,
  });
}

function notifyOf(get: Get): Receiver | undefined {
  const url = get('notify-url');
  const secret = get('notify-secret');
  if (url !== undefined) return { url: receiverUrl(url, boolean(get, 'notify-plain', false)), secret };
  if (secret === undefined) return undefined;
  throw new AccelError('usage', 'notify-secret was given without notify-url', { hint: 'Give both, or neither.' });
}

function keyOf(text: string | undefined): Uint8Array | undefined {
  return text === undefined ? undefined : Buffer.from(text);
}

/** A list inline, or the name of a file that holds one; `#` begins a comment. */
function prefetchOf(text: string | undefined): string[] | undefined {
  if (text === undefined) return undefined;
  const isFile = !text.includes('\n') && statSync(text, { throwIfNoEntry: false })?.isFile() === true;
  const list = isFile ? readFileSync(text, 'utf8') : text;
  return lines(list).filter((line) => !line.startsWith('#'));
}

function wrong(name: InputName, expected: string, found: string): AccelError {
  return new AccelError('usage', `the input ${name} does not take this value`, { expected, found });
}
