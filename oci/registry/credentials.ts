/**
 * Finds credentials in this order: the caller, the variable DOCKER_AUTH_CONFIG (Docker's config.json as text), Docker's
 * config.json (credHelpers, credsStore, auths), podman's auth.json. The first source that knows the registry decides.
 */
import { homedir } from 'node:os';
import path from 'node:path';
import { AccelError } from '../../base/error.ts';
import { isRecord } from '../../base/is-record.ts';
import { readSmallFile } from '../../disk/small-file.ts';
import { isAbsent } from '../../disk/write-atomically.ts';
import { DOCKER_HUB } from '../reference.ts';
import { askHelper } from './credential-helper.ts';
import type { Credentials, FoundCredentials } from './credential-kinds.ts';
import type { RegistryOptions } from './registry-options.ts';

/** Docker's own key for Docker Hub in config files and helpers. */
const HUB_KEY = 'https://index.docker.io/v1/';
const HUB_HOSTS: readonly string[] = ['index.docker.io', 'docker.io', DOCKER_HUB];

/** The variable that holds a config.json as text (Docker 28.3, GitLab CI). */
const VARIABLE = 'DOCKER_AUTH_CONFIG';

interface FindOptions
  extends Pick<RegistryOptions, 'username' | 'password' | 'credentialsFrom' | 'env' | 'warn' | 'shared'> {
  /** Ends a helper that does not answer, and the call with its reason. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * The credentials for a repository, or undefined for anonymous access. A helper that fails is reported to
 * `options.warn` and skipped: a public image needs no credentials. Throws `usage` for a file that is not JSON.
 */
export async function findCredentials(
  registry: string,
  repository: string,
  options: FindOptions,
): Promise<FoundCredentials | undefined> {
  const { username, password = '', credentialsFrom = 'the caller' } = options;
  if (username) return { kind: 'basic', username, password, from: credentialsFrom };
  const env = options.env ?? process.env;
  const { warn, signal, shared } = options;
  for await (const source of sources(env, options)) {
    const found = await fromConfig(source, { registry, repository, env, warn, signal, shared });
    if (found !== undefined) return found;
  }
  return undefined;
}

/** A config that may know the registry. */
interface Source {
  /** Name in messages. */
  readonly name: string;
  readonly config: Record<string, unknown>;
}

async function* sources(
  env: Readonly<Record<string, string | undefined>>,
  { warn }: FindOptions,
): AsyncGenerator<Source> {
  const text = env[VARIABLE] ?? '';
  const value = isBlank(text) ? null : parseJson(text);
  if (isRecord(value)) yield { name: `the variable ${VARIABLE}`, config: value };
  // As in Docker, an invalid variable does not prevent reading the files.
  else if (value !== null) warn?.(`the variable ${VARIABLE} is not a JSON object; it is left out`);
  for (const file of configFiles(env)) {
    const config = await readConfig(file);
    if (config !== undefined) yield { name: file, config };
  }
}

/** The user and password of an `Authorization: Basic` value's payload; undefined if it holds no colon. */
export function decodeBasic(base64: string): { readonly username: string; readonly password: string } | undefined {
  const text = Buffer.from(base64, 'base64').toString('utf8').replace(/\0+$/, '');
  const colon = text.indexOf(':');
  return colon < 0 ? undefined : { username: text.slice(0, colon), password: text.slice(colon + 1) };
}

function configFiles(env: Readonly<Record<string, string | undefined>>): readonly string[] {
  const home = env.HOME || homedir();
  const files = [path.join(env.DOCKER_CONFIG || path.join(home, '.docker'), 'config.json')];
  if (env.REGISTRY_AUTH_FILE) return [...files, env.REGISTRY_AUTH_FILE];
  if (env.XDG_RUNTIME_DIR) files.push(path.join(env.XDG_RUNTIME_DIR, 'containers', 'auth.json'));
  files.push(path.join(env.XDG_CONFIG_HOME || path.join(home, '.config'), 'containers', 'auth.json'));
  return files;
}

/** Bytes of a file with credentials that are read. */
const MAX_CONFIG_FILE = 4 << 20;

async function readConfig(file: string): Promise<Record<string, unknown> | undefined> {
  // The usual way to name a file without credentials; every other device is refused.
  if (file === '/dev/null') return undefined;
  let text: string;
  try {
    text = Buffer.from(await readSmallFile(file, MAX_CONFIG_FILE)).toString('utf8');
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw new AccelError('usage', 'the file with registry credentials cannot be read', {
      where: { path: file },
      cause: error,
    });
  }
  // An empty file, as of touch, mktemp or an empty secret, is no configuration, as in Docker.
  if (isBlank(text)) return undefined;
  const value = parseJson(text);
  if (isRecord(value)) return value;
  if (value === null) return undefined;
  throw new AccelError('usage', 'the file with registry credentials is not a JSON object', { where: { path: file } });
}

function isBlank(text: string): boolean {
  return text.trim() === '';
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // The parser's message quotes the text, which holds secrets: it is not passed on.
  }
}

/** The repository to find credentials for, and the environment. */
interface Wanted {
  readonly warn: RegistryOptions['warn'] | undefined;
  readonly registry: string;
  readonly repository: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly signal: AbortSignal | undefined;
  readonly shared: RegistryOptions['shared'];
}

async function fromConfig(source: Source, wanted: Wanted): Promise<FoundCredentials | undefined> {
  const { registry, repository } = wanted;
  const hosts = registry === DOCKER_HUB ? HUB_HOSTS : [registry];
  const asked = await fromHelper(source, hosts, wanted);
  if (asked !== undefined) return asked;
  const auths = isRecord(source.config.auths) ? source.config.auths : {};
  for (const key of candidateKeys(hosts, repository)) {
    for (const [name, entry] of Object.entries(auths)) {
      if (normalizeKey(name) !== key || !isRecord(entry)) continue;
      const found = fromEntry(entry);
      if (found !== undefined) return { ...found, from: source.name };
    }
  }
  return undefined;
}

async function fromHelper(
  { name, config }: Source,
  hosts: readonly string[],
  { registry, env, warn, signal, shared }: Wanted,
): Promise<FoundCredentials | undefined> {
  const hub = registry === DOCKER_HUB;
  const helpers = isRecord(config.credHelpers) ? config.credHelpers : {};
  const named = [...hosts, HUB_KEY].map((host) => (hub || host !== HUB_KEY ? helpers[host] : undefined));
  const helper = named.find((value) => typeof value === 'string') ?? config.credsStore;
  if (typeof helper !== 'string' || helper === '') return undefined;
  try {
    const server = hub ? HUB_KEY : registry;
    const found = await (shared?.helper(`${helper} ${server}`, () => askHelper(helper, server, { env }), signal) ??
      askHelper(helper, server, { env, signal }));
    return found === undefined ? undefined : { ...found, from: `docker-credential-${helper}, which ${name} names` };
  } catch (error) {
    signal?.throwIfAborted();
    warn?.(`credentials for ${registry}: ${error instanceof Error ? error.message : String(error)}`);
    return undefined;
  }
}

/** Podman stores credentials also by namespace or repository: the most exact key comes first. */
function candidateKeys(hosts: readonly string[], repository: string): readonly string[] {
  const parts = repository.split('/');
  const paths = parts.map((_, drop) => parts.slice(0, parts.length - drop).join('/'));
  return hosts.flatMap((host) => [...paths.map((name) => `${host}/${name}`), host]);
}

/** `https://host/v1/` and `host` mean the same in Docker's file. */
function normalizeKey(key: string): string {
  return key
    .replace(/^https?:\/\//, '')
    .replace(/\/+$/, '')
    .replace(/\/v[12]$/, '');
}

function fromEntry(entry: Record<string, unknown>): (Credentials & { readonly username?: string }) | undefined {
  const { identitytoken, registrytoken, auth, username, password } = entry;
  if (typeof registrytoken === 'string' && registrytoken) return { kind: 'bearer', token: registrytoken };
  if (typeof identitytoken === 'string' && identitytoken) return { kind: 'identity', token: identitytoken };
  const decoded = typeof auth === 'string' ? decodeBasic(auth) : undefined;
  if (decoded?.username) return { kind: 'basic', ...decoded };
  if (typeof username === 'string' && username && typeof password === 'string') {
    return { kind: 'basic', username, password };
  }
  return undefined;
}
