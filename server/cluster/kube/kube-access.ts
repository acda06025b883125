/**
 * The way to the API of Kubernetes: a kubeconfig, or the service account that a pod has. Of kubeconfigs, tokens, token files, client
 * certificates and passwords are read; plugins that print credentials are refused by name.
 */
import { readFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';
import { AccelError } from '../../../base/error.ts';
import { hideSecret } from '../../../base/secrets.ts';
import type { PemTexts } from '../../../http/http-options.ts';

/** Where the API is, and who asks. */
export interface KubeAccess {
  readonly server: URL;
  /** Certificates; the system's authorities where it names none. */
  readonly pem: PemTexts;
  /** Accepts any certificate. */
  readonly insecure: boolean;
  /** The Authorization header, read again where it comes from a file; undefined with a client certificate. */
  readonly authorization: () => Promise<string | undefined>;
  /** Namespace that the file names; undefined where it does not. */
  readonly namespace: string | undefined;
}

/** Folder of a pod's service account. */
const SERVICE_ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount';
/** Milliseconds after which a token's file is read again; kubelet renews it long before it ends. */
const TOKEN_AGE = 60_000;

const text = z.string().min(1);
const CLUSTER = z.object({
  server: z.url({ protocol: /^https?$/ }),
  'certificate-authority': text.optional(),
  'certificate-authority-data': text.optional(),
  'insecure-skip-tls-verify': z.boolean().default(false),
});
const USER = z.object({
  token: text.optional(),
  tokenFile: text.optional(),
  username: text.optional(),
  password: z.string().default(''),
  'client-certificate': text.optional(),
  'client-certificate-data': text.optional(),
  'client-key': text.optional(),
  'client-key-data': text.optional(),
  exec: z.unknown().optional(),
  'auth-provider': z.unknown().optional(),
});
const CONTEXT = z.object({ cluster: text, user: text, namespace: text.optional() });
const KUBECONFIG = z.object({
  'current-context': z.string().default(''),
  clusters: z.array(z.object({ name: text, cluster: CLUSTER })).default([]),
  users: z.array(z.object({ name: text, user: USER })).default([]),
  contexts: z.array(z.object({ name: text, context: CONTEXT })).default([]),
});

/** Surroundings of a process; those of a pod unless given. */
export interface AccessSurroundings {
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Folder of the service account. */
  readonly serviceAccount?: string;
  /** Milliseconds after which a token's file is read again. */
  readonly tokenAge?: number;
}

/** Reads the kubeconfig, or without a path the pod's service account. Throws `usage` for what is missing or cannot be used. */
export async function kubeAccess(
  kubeconfig: string | undefined,
  { env = process.env, serviceAccount = SERVICE_ACCOUNT, tokenAge = TOKEN_AGE }: AccessSurroundings = {},
): Promise<KubeAccess> {
  if (kubeconfig !== undefined) return fromKubeconfig(kubeconfig, tokenAge);
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port = '443' } = env;
  if (host === undefined) {
    throw new AccelError('usage', 'no way to the API of Kubernetes', {
      expected: 'cluster.kubeconfig in the configuration, or a pod with a service account',
    });
  }
  const ca = await reading(join(serviceAccount, 'ca.crt'));
  return {
    server: new URL(`https://${host.includes(':') ? `[${host}]` : host}:${port}`),
    pem: { ca },
    insecure: false,
    authorization: bearerOfFile(join(serviceAccount, 'token'), tokenAge),
    namespace: (await reading(join(serviceAccount, 'namespace'))).trim(),
  };
}

async function fromKubeconfig(path: string, tokenAge: number): Promise<KubeAccess> {
  const where = { path };
  const parsed = KUBECONFIG.safeParse(parseYaml(await reading(path), where));
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new AccelError('usage', 'this is not a kubeconfig', {
      where: { ...where, key: issue?.path.join('.') ?? '' },
      found: issue?.message ?? '',
    });
  }
  const { clusters, users, contexts, 'current-context': current } = parsed.data;
  const { context } = find(contexts, current, { path, kind: 'context' });
  const { cluster } = find(clusters, context.cluster, { path, kind: 'cluster' });
  const { user } = find(users, context.user, { path, kind: 'user' });
  refusePlugins(user, { path, user: context.user });
  const folder = dirname(path);
  const ca = await pemOf(cluster['certificate-authority-data'], cluster['certificate-authority'], folder);
  const cert = await pemOf(user['client-certificate-data'], user['client-certificate'], folder);
  const key = await pemOf(user['client-key-data'], user['client-key'], folder);
  return {
    server: new URL(cluster.server),
    pem: {
      ...(ca === undefined ? {} : { ca }),
      ...(cert === undefined || key === undefined ? {} : { cert, key }),
    },
    insecure: cluster['insecure-skip-tls-verify'],
    authorization: authorizationOf(user, folder, tokenAge),
    namespace: context.namespace,
  };
}

function refusePlugins(user: z.output<typeof USER>, where: { readonly path: string; readonly user: string }): void {
  const plugin = user.exec !== undefined ? 'exec' : user['auth-provider'] !== undefined ? 'auth-provider' : undefined;
  if (plugin === undefined) return;
  throw new AccelError('usage', 'plugins that print credentials are not run', {
    where,
    expected: 'token, tokenFile or client-certificate',
    found: plugin,
    hint: 'Use a token of a service account: kubectl create token NAME.',
  });
}

function authorizationOf(
  { token, tokenFile, username, password }: z.output<typeof USER>,
  folder: string,
  tokenAge: number,
): KubeAccess['authorization'] {
  if (tokenFile !== undefined) return bearerOfFile(resolve(folder, tokenFile), tokenAge);
  if (token !== undefined) {
    hideSecret(token);
    return async () => `Bearer ${token}`;
  }
  if (username === undefined) return async () => undefined;
  hideSecret(password);
  const basic = `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
  return async () => basic;
}

/** A token that kubelet renews in place: read again when the one in memory is too old. */
function bearerOfFile(path: string, tokenAge: number): KubeAccess['authorization'] {
  let known: { readonly value: string; readonly read: number } | undefined;
  return async () => {
    const now = performance.now();
    if (known !== undefined && now - known.read < tokenAge) return known.value;
    try {
      const token = (await reading(path)).trim();
      hideSecret(token);
      known = { value: `Bearer ${token}`, read: now };
    } catch (error) {
      // While the file is being replaced the token in memory still counts.
      if (known === undefined) throw error;
    }
    return known.value;
  };
}

async function pemOf(data: string | undefined, file: string | undefined, folder: string): Promise<string | undefined> {
  if (data !== undefined) return Buffer.from(data, 'base64').toString('utf8');
  return file === undefined ? undefined : reading(resolve(folder, file));
}

function find<T extends { readonly name: string }>(
  entries: readonly T[],
  name: string,
  where: { readonly path: string; readonly kind: string },
): T {
  const entry = entries.find((one) => one.name === name);
  if (entry !== undefined) return entry;
  throw new AccelError('usage', `the kubeconfig has no ${where.kind} of this name`, {
    where: { path: where.path },
    expected: entries.map((one) => one.name).join(', ') || 'at least one',
    found: name || 'no current-context',
  });
}

function parseYaml(content: string, where: { readonly path: string }): unknown {
  try {
    return parse(content);
  } catch (cause) {
    throw new AccelError('usage', 'this is not YAML', {
      where,
      found: (cause as Error).message.split('\n', 1)[0]!,
      cause,
    });
  }
}

async function reading(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw new AccelError('usage', 'a file of the way to Kubernetes cannot be read', {
      where: { path },
      found: (cause as Error).message,
      cause,
    });
  }
}
