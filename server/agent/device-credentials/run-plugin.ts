/**
 * Runs a credential provider plugin as kubelet does (`credentialprovider.kubelet.k8s.io`): a CredentialProviderRequest on its standard
 * input, a CredentialProviderResponse on its standard output. No message repeats its output, which may be a secret.
 */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { z } from 'zod';
import { AccelError } from '../../../base/error.ts';
import { hideSecret } from '../../../base/secrets.ts';
import { type CredentialPlugin, goDuration } from './provider-config.ts';

/** Most bytes of an answer. */
const MAX_OUTPUT = 1 << 20;

const RESPONSE = z.looseObject({
  apiVersion: z.string(),
  kind: z.literal('CredentialProviderResponse'),
  cacheKeyType: z.enum(['Image', 'Registry', 'Global']),
  cacheDuration: z
    .string()
    .refine((text) => goDuration(text) !== undefined)
    .transform((text) => goDuration(text)!)
    .nullish(),
  auth: z.record(z.string(), z.object({ username: z.string(), password: z.string() })).nullish(),
});

/** An answer of a plugin. */
export interface PluginAnswer {
  /** For what else the answer counts. */
  readonly cacheKeyType: 'Image' | 'Registry' | 'Global';
  /** Milliseconds for which it counts; undefined where the answer leaves that to the configuration. */
  readonly cacheDuration: number | undefined;
  /** Credentials by pattern of images. */
  readonly auth: Readonly<Record<string, { readonly username: string; readonly password: string }>>;
}

/** Surroundings of a plugin. */
export interface PluginSurroundings {
  /** Folder of the programs. */
  readonly folder: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Milliseconds for an answer. */
  readonly timeout: number;
}

/** Asks a plugin about an image. Throws `unauthorized` for one that is missing, fails, is too slow, or answers something else. */
export async function runPlugin(
  plugin: CredentialPlugin,
  image: string,
  surroundings: PluginSurroundings,
): Promise<PluginAnswer> {
  const request = { kind: 'CredentialProviderRequest', apiVersion: plugin.apiVersion, image };
  const { code, output } = await run(plugin, JSON.stringify(request), surroundings);
  if (code !== 0) throw failure(plugin, `it ended with status ${code}`);
  let document: unknown;
  try {
    document = JSON.parse(output);
  } catch {
    throw failure(plugin, 'its answer is not JSON');
  }
  const { success, data, error } = RESPONSE.safeParse(document);
  if (!success) {
    const [first] = error.issues[0]?.path ?? [];
    throw failure(
      plugin,
      `its answer is no CredentialProviderResponse${first === undefined ? '' : `: ${String(first)}`}`,
    );
  }
  if (data.apiVersion !== plugin.apiVersion) throw failure(plugin, `its answer is not of ${plugin.apiVersion}`);
  for (const { password } of Object.values(data.auth ?? {})) hideSecret(password);
  return { cacheKeyType: data.cacheKeyType, cacheDuration: data.cacheDuration ?? undefined, auth: data.auth ?? {} };
}

function run(
  plugin: CredentialPlugin,
  input: string,
  { folder, env, timeout }: PluginSurroundings,
): Promise<{ readonly code: number | null; readonly output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(join(folder, plugin.name), plugin.args, {
      env: { ...env, ...plugin.env },
      stdio: ['pipe', 'pipe', 'ignore'],
      // A group of its own: what the plugin starts ends with it.
      detached: true,
    });
    const chunks: Buffer[] = [];
    let size = 0;
    const giveUp = (reason: string): void => {
      if (child.pid !== undefined) endGroup(child.pid);
      child.stdout.destroy();
      reject(failure(plugin, reason));
    };
    const slow = setTimeout(() => giveUp(`it did not answer within ${timeout / 1000} s`), timeout);
    child.stdout.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size > MAX_OUTPUT) giveUp(`its answer is longer than ${MAX_OUTPUT} bytes`);
      else chunks.push(chunk);
    });
    child.on('error', ({ code, message }: NodeJS.ErrnoException) => {
      clearTimeout(slow);
      reject(failure(plugin, code === 'ENOENT' ? 'there is no such program' : (code ?? message)));
    });
    child.on('close', (code) => {
      clearTimeout(slow);
      resolve({ code, output: Buffer.concat(chunks).toString('utf8') });
    });
    // A plugin that ends without reading breaks the pipe; its status is the error to report.
    child.stdin.on('error', () => undefined);
    child.stdin.end(input);
  });
}

function endGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // It has ended by itself.
  }
}

function failure({ name }: CredentialPlugin, reason: string): AccelError {
  return new AccelError('unauthorized', `the credential provider plugin ${name} failed: ${reason}`, {
    where: { key: 'agent.credentials.kubelet' },
    hint: 'Call it by hand with a CredentialProviderRequest on its standard input; kubelet calls it in the same way.',
  });
}
