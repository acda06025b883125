/** The flags that say how to reach a registry, the same for every command that talks to one. */
import { type Command, Option } from 'commander';
import { AccelError } from '../base/error.ts';
import { redact } from '../base/secrets.ts';
import type { HttpTrace } from '../http/http-trace.ts';
import type { RegistryOptions } from '../oci/registry/registry-options.ts';
import { writeLog } from './log-output.ts';
import {
  collectPaths,
  parseBandwidth,
  parseChunkSize,
  parseDuration,
  parseInteger,
  parseRate,
  parseRequestRate,
} from './parse-values.ts';
import type { Output } from './terminal.ts';
import { printable } from './text.ts';

/** The parsed registry flags. */
export interface RegistryFlags {
  readonly username?: string;
  readonly passwordStdin?: boolean;
  readonly plain?: boolean;
  readonly insecure?: boolean;
  readonly rootCa?: readonly string[];
  readonly certDir?: readonly string[];
  readonly clientCert?: readonly string[];
  readonly chunkSize?: number;
  readonly minRate?: number;
  readonly maxWait?: number;
  readonly retries?: number;
  readonly rateLimit?: number;
  readonly bandwidth?: number;
  readonly httpTrace?: boolean;
  readonly logFormat?: 'text' | 'json';
}

/** Access to a registry, from the flags and standard input. */
export type RegistryChoice = Pick<
  RegistryOptions,
  | 'username'
  | 'password'
  | 'credentialsFrom'
  | 'plain'
  | 'insecure'
  | 'rootCa'
  | 'certDir'
  | 'clientCert'
  | 'chunkSize'
  | 'minRate'
  | 'maxWait'
  | 'retries'
  | 'throttle'
  | 'trace'
>;

/** Longest password that is read from standard input; identity tokens are a few kilobytes. */
const MAX_PASSWORD_BYTES = 65_536;

/** Declares the registry flags on a command. */
export function addRegistryFlags(command: Command): Command {
  return command
    .option('-u, --username <user[:password]>', 'user of the registry; without it the docker config is asked')
    .option('--password-stdin', 'read the password from standard input')
    .option('--plain', 'plain HTTP instead of HTTPS')
    .option('--insecure', 'HTTPS without checking the certificate')
    .addOption(paths('--root-ca <file>', 'certificate authority to trust, PEM (repeatable)'))
    .addOption(
      paths('--cert-dir <dir>', 'folder of *.crt authorities and *.cert, *.key client certificates (repeatable)'),
    )
    .addOption(paths('--client-cert <cert:key>', 'client certificate and its key, PEM files (repeatable)'))
    .option(
      '--chunk-size <bytes>',
      'send blobs in chunks of at most so much, such as 4M, for registries and proxies that limit a request',
      parseChunkSize,
    )
    .option(
      '--min-rate <bytes>',
      'least bytes a second that a blob must move, over a minute; 1K unless given, 0 for no bound',
      parseRate('--min-rate'),
    )
    .option(
      '--max-wait <duration>',
      'longest wait of one request where the registry asks for it (HTTP 429, 503); 2m unless given',
      parseDuration('--max-wait', 0),
    )
    .option(
      '--retries <n>',
      'tries of a request after the first that fails; 7 unless given',
      parseInteger('--retries', 0, 100),
    )
    .option(
      '--rate-limit <n/s>',
      'requests a second to each registry, such as 10/s or 0.5/s; no limit unless given',
      parseRequestRate,
    )
    .option(
      '--bandwidth <bytes>',
      'bytes a second over all transfers of the run, such as 20M; no limit unless given',
      parseBandwidth,
    )
    .option('--http-trace', 'print every request on standard error, without secrets')
    .addOption(
      new Option('--log-format <form>', 'form of what is printed on standard error')
        .choices(['text', 'json'])
        .default('text'),
    );
}

/**
 * The parsed flags with the password filled in; reads `stdin` only with `--password-stdin`. Throws `usage` when a
 * password is missing or given twice.
 */
export async function registryChoice(
  flags: RegistryFlags,
  stdin: AsyncIterable<Uint8Array | string>,
  stderr?: Output,
): Promise<RegistryChoice> {
  return {
    ...(await credentialOf(flags, stdin)),
    ...(flags.plain === undefined ? {} : { plain: flags.plain }),
    ...(flags.insecure === undefined ? {} : { insecure: flags.insecure }),
    ...(flags.rootCa === undefined ? {} : { rootCa: flags.rootCa }),
    ...(flags.certDir === undefined ? {} : { certDir: flags.certDir }),
    ...(flags.clientCert === undefined ? {} : { clientCert: flags.clientCert }),
    ...(flags.chunkSize === undefined ? {} : { chunkSize: flags.chunkSize }),
    ...(flags.minRate === undefined ? {} : { minRate: flags.minRate }),
    ...(flags.maxWait === undefined ? {} : { maxWait: flags.maxWait }),
    ...(flags.retries === undefined ? {} : { retries: flags.retries }),
    ...(await throttleOf(flags)),
    ...(flags.httpTrace !== true || stderr === undefined ? {} : { trace: (record) => writeTrace(stderr, record) }),
  };
}

/** The bounds of the run: one object, which source and target share. */
async function throttleOf({ rateLimit, bandwidth }: RegistryFlags): Promise<Pick<RegistryChoice, 'throttle'>> {
  if (rateLimit === undefined && bandwidth === undefined) return {};
  const { Throttle } = await import('../http/throttle.ts');
  return {
    throttle: new Throttle({
      ...(rateLimit === undefined ? {} : { requests: rateLimit }),
      ...(bandwidth === undefined ? {} : { bytes: bandwidth }),
    }),
  };
}

function writeTrace(stderr: Output, record: HttpTrace): void {
  const message = traceLine(record);
  writeLog(stderr, { level: 'debug', message, fields: { ...record } }, `${message}\n`);
}

/** A request on one line: method, URL, status, bytes, time, and what a registry's support asks for. */
export function traceLine(record: HttpTrace): string {
  const { method, url, attempt, status, sent, received, milliseconds, requestId, error } = record;
  const parts = [
    `http ${method} ${url}`,
    status === undefined ? 'no answer' : String(status),
    ...(sent > 0 ? [`sent ${sent} B`] : []),
    `received ${received} B`,
    `${milliseconds} ms`,
    ...(attempt > 1 ? [`try ${attempt}`] : []),
    ...(requestId === undefined ? [] : [`id ${requestId}`]),
    ...(error === undefined ? [] : [`failed: ${error}`]),
  ];
  return printable(redact(parts.join(', ')));
}

/** Access to the target registry when it has a user of its own; undefined otherwise. */
export function targetChoice(source: RegistryChoice, targetUsername: string | undefined): RegistryChoice | undefined {
  if (targetUsername === undefined) return undefined;
  const colon = targetUsername.indexOf(':');
  if (colon <= 0) {
    throw new AccelError('usage', '--target-username has no password', { expected: 'USER:PASSWORD' });
  }
  return {
    ...source,
    username: targetUsername.slice(0, colon),
    password: targetUsername.slice(colon + 1),
    credentialsFrom: '--target-username',
  };
}

async function credentialOf(
  { username, passwordStdin }: RegistryFlags,
  stdin: AsyncIterable<Uint8Array | string>,
): Promise<Pick<RegistryChoice, 'username' | 'password' | 'credentialsFrom'>> {
  if (username === undefined) {
    if (passwordStdin !== true) return {};
    throw new AccelError('usage', '--password-stdin needs a user', { hint: 'Add -u USER.' });
  }
  // Only the first colon divides: a password may hold more of them.
  const colon = username.indexOf(':');
  const user = colon < 0 ? username : username.slice(0, colon);
  if (user === '') throw new AccelError('usage', '-u has no user name', { expected: 'USER or USER:PASSWORD' });
  if (passwordStdin === true) {
    if (colon >= 0) {
      throw new AccelError('usage', 'the password is given twice, by -u and by --password-stdin', {
        hint: 'Leave it out of -u.',
      });
    }
    return { username: user, password: await readPassword(stdin), credentialsFrom: '-u and --password-stdin' };
  }
  if (colon < 0) {
    throw new AccelError('usage', '-u has no password', {
      hint: 'Give it as -u USER:PASSWORD, or on standard input with --password-stdin.',
    });
  }
  return { username: user, password: username.slice(colon + 1), credentialsFrom: '-u' };
}

async function readPassword(stdin: AsyncIterable<Uint8Array | string>): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of stdin) {
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
    size += bytes.length;
    if (size > MAX_PASSWORD_BYTES) {
      throw new AccelError('usage', 'the password on standard input is too long', {
        expected: `at most ${MAX_PASSWORD_BYTES} bytes`,
      });
    }
    chunks.push(bytes);
  }
  // `echo secret |` and editors end the line; that is no part of the password.
  const password = Buffer.concat(chunks)
    .toString('utf8')
    .replace(/\r?\n$/, '');
  if (password === '') throw new AccelError('usage', 'standard input held no password');
  return password;
}

function paths(flags: string, description: string): Option {
  return new Option(flags, description).argParser(collectPaths);
}
