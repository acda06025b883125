/** Docker's credential helpers: programs named docker-credential-NAME that speak JSON over their standard streams. */

import { spawn } from 'node:child_process';
import { advise, option } from '../../base/advice.ts';
import { AccelError } from '../../base/error.ts';
import { isRecord } from '../../base/is-record.ts';
import type { Credentials } from './credential-kinds.ts';

/** Milliseconds for a helper to answer; some ask a cloud's API. */
const TIMEOUT = 30_000;
const MAX_OUTPUT = 1 << 20;

/** Surroundings of a helper. */
export interface HelperOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Ends the helper, and the call with its reason. */
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds for the answer; half a minute unless given. */
  readonly timeout?: number;
}

/**
 * Asks a helper for a server's credentials; undefined if it has none. Throws `unauthorized` if it is missing, fails, is too
 * slow or answers invalid JSON; its output is never part of a message, except the explanation of a failure.
 */
export async function askHelper(
  name: string,
  server: string,
  options: HelperOptions,
): Promise<Credentials | undefined> {
  // The name becomes part of a program's name: nothing that could leave PATH's directories.
  if (!/^[A-Za-z0-9_.-]+$/.test(name)) throw failure(name, 'its name is not a plain word');
  const { code, output } = await run(name, server, options);
  if (code !== 0) {
    const reason = output.trim().split('\n')[0] ?? '';
    if (/credentials not found|no credentials/i.test(reason)) return undefined;
    throw failure(name, `it ended with status ${code}: ${printable(reason).slice(0, 200)}`);
  }
  let answer: unknown;
  try {
    answer = JSON.parse(output);
  } catch {
    throw failure(name, 'its answer is not JSON');
  }
  if (!isRecord(answer) || typeof answer.Username !== 'string' || typeof answer.Secret !== 'string') {
    throw failure(name, 'its answer lacks Username and Secret');
  }
  if (answer.Secret === '') return undefined;
  if (answer.Username === '<token>') return { kind: 'identity', token: answer.Secret };
  return { kind: 'basic', username: answer.Username, password: answer.Secret };
}

function run(
  name: string,
  input: string,
  { env, signal, timeout = TIMEOUT }: HelperOptions,
): Promise<{ readonly code: number | null; readonly output: string }> {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const child = spawn(`docker-credential-${name}`, ['get'], { env: { ...env }, stdio: ['pipe', 'pipe', 'ignore'] });
    const chunks: Buffer[] = [];
    let size = 0;
    const giveUp = (reason: unknown): void => {
      // A program that the helper started may keep the output open: nothing waits for that.
      child.kill('SIGKILL');
      child.stdout.destroy();
      reject(reason);
    };
    const onAbort = (): void => giveUp(signal?.reason);
    const slow = setTimeout(() => giveUp(failure(name, `it did not answer within ${timeout / 1000} s`)), timeout);
    signal?.addEventListener('abort', onAbort, { once: true });
    const release = (): void => {
      clearTimeout(slow);
      signal?.removeEventListener('abort', onAbort);
    };
    child.stdout.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size > MAX_OUTPUT) giveUp(failure(name, `its answer is longer than ${MAX_OUTPUT} bytes`));
      else chunks.push(chunk);
    });
    child.on('error', (error) => {
      release();
      reject(failure(name, error.message));
    });
    child.on('close', (code) => {
      release();
      resolve({ code, output: Buffer.concat(chunks).toString('utf8') });
    });
    // A helper that ends without reading breaks the pipe; its status is the error to report.
    child.stdin.on('error', () => undefined);
    child.stdin.end(`${input}\n`);
  });
}

function failure(name: string, reason: string): AccelError {
  return new AccelError(
    'unauthorized',
    `the credential helper docker-credential-${printable(name)} failed: ${reason}`,
    {
      hint: advise`Log in again, or give the credentials by ${option('username', 'USER')}.`,
    },
  );
}

function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, '?');
}
