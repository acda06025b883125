/**
 * The configuration of kubelet's credential provider plugins (`kubelet.config.k8s.io`, CredentialProviderConfig): which program of a
 * folder answers for which images. Fields that say how a pod's service account takes part are refused, since a node's device has no pod.
 */
import { readFile } from 'node:fs/promises';
import { parse } from 'yaml';
import { z } from 'zod';
import { AccelError } from '../../../base/error.ts';

/** A plugin. */
export interface CredentialPlugin {
  /** Name of its program in the folder. */
  readonly name: string;
  /** Patterns of images that it answers for. */
  readonly matchImages: readonly string[];
  /** Milliseconds for which an answer counts that says nothing about it. */
  readonly defaultCacheDuration: number;
  /** `credentialprovider.kubelet.k8s.io/VERSION`. */
  readonly apiVersion: string;
  readonly args: readonly string[];
  /** Variables beside those of the agent. */
  readonly env: Readonly<Record<string, string>>;
}

/** Largest file that is read. */
const MAX_BYTES = 1 << 20;
const PART = /(\d+(?:\.\d+)?|\.\d+)(ns|us|µs|ms|s|m|h)/g;
const UNITS: Readonly<Record<string, number>> = { ns: 1e-6, us: 1e-3, µs: 1e-3, ms: 1, s: 1e3, m: 6e4, h: 3.6e6 };

/** Milliseconds of a duration as Go writes it, such as `1h30m`; undefined for another text. */
export function goDuration(text: string): number | undefined {
  if (text === '0') return 0;
  if (text === '' || text.replace(PART, '') !== '') return undefined;
  return [...text.matchAll(PART)].reduce((sum, [, amount, unit]) => sum + Number(amount) * UNITS[unit!]!, 0);
}

const duration = z
  .string()
  .refine((text) => goDuration(text) !== undefined, 'is not a duration such as 12h')
  .transform((text) => goDuration(text)!);
const PROVIDER = z.looseObject({
  // A file name of the folder, as kubelet demands it.
  name: z
    .string()
    .refine((name) => /^[^/\\\s]+$/.test(name) && name !== '.' && name !== '..', 'is no name of a program'),
  matchImages: z.array(z.string().min(1)).min(1),
  defaultCacheDuration: duration,
  apiVersion: z.string().regex(/^credentialprovider\.kubelet\.k8s\.io\/v1(alpha1|beta1)?$/),
  args: z.array(z.string()).nullish(),
  env: z.array(z.object({ name: z.string().min(1), value: z.string() })).nullish(),
  tokenAttributes: z.unknown().optional(),
});
const CONFIG = z.looseObject({
  apiVersion: z.string().regex(/^kubelet\.config\.k8s\.io\/v1(alpha1|beta1)?$/),
  kind: z.literal('CredentialProviderConfig'),
  providers: z.array(PROVIDER).min(1),
});

/** Plugins of a file, and the names of those that need a pod's service account. */
export interface ProviderConfig {
  readonly plugins: readonly CredentialPlugin[];
  readonly withoutPod: readonly string[];
}

/** Reads the file. Throws `usage`, with the place and never with a value, for one that kubelet would not take either. */
export async function readProviderConfig(path: string): Promise<ProviderConfig> {
  let document: unknown;
  try {
    const text = await readFile(path, 'utf8');
    if (text.length > MAX_BYTES) throw new Error(`it is longer than ${MAX_BYTES} bytes`);
    document = parse(text);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    // The parser quotes the file, which may hold secrets in variables.
    throw unusable(path, code === 'ENOENT' ? 'no such file' : (code ?? 'no YAML'));
  }
  const result = CONFIG.safeParse(document);
  if (!result.success) {
    const [{ path: place, message } = { path: [], message: '' }] = result.error.issues;
    throw unusable(path, `${place.join('.') || 'the document'}: ${message}`);
  }
  const { providers } = result.data;
  const names = providers.map(({ name }) => name);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) throw unusable(path, `two providers with the name ${twice}`);
  const needsPod = (provider: (typeof providers)[number]) => provider.tokenAttributes != null;
  return {
    plugins: providers
      .filter((provider) => !needsPod(provider))
      .map(({ name, matchImages, defaultCacheDuration, apiVersion, args, env }) => ({
        ...{ name, matchImages, defaultCacheDuration, apiVersion },
        args: args ?? [],
        env: Object.fromEntries((env ?? []).map((one) => [one.name, one.value])),
      })),
    withoutPod: providers.filter(needsPod).map(({ name }) => name),
  };
}

function unusable(path: string, found: string): AccelError {
  return new AccelError('usage', 'the configuration of credential provider plugins cannot be used', {
    where: { key: 'agent.credentials.kubelet.config', path },
    expected: 'a CredentialProviderConfig of kubelet.config.k8s.io, as kubelet reads it',
    found,
  });
}
