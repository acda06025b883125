/**
 * Finds what setup adds to a node's files by its marks, and takes it out: where the journal is lost, and what was there before is
 * not known. TOML has marks; JSON has none, and there a value is ours only if it names the agent that a mark names.
 */
import { posix } from 'node:path';
import { isRecord } from '../../../base/is-record.ts';
import { CREDENTIALS_PATH } from '../device-credentials/credential-endpoint.ts';
import { CONTAINERD_CONFIG, ContainerdConfig, DEFAULT_CERTS } from './containerd-config.ts';
import { jsonValue, type MadeJsonChange, revertJson } from './json-text.ts';
import type { NodeChange } from './node-changes.ts';
import { hasOwnBlock, ownBlocksIn, withoutOwnBlocks } from './own-block.ts';
import { problemText } from './problem-text.ts';
import type { FileState, RootedFiles } from './rooted-files.ts';
import { findProgram } from './setup-context.ts';
import { DAEMON_JSON, OVERLAYBD_JSON } from './setup-json.ts';
import { OWN_REGISTRIES_CONF } from './setup-registries-conf.ts';

const UNKNOWN = 'no journal says what was there before: what setup added is taken out by its marks';
/** Folders of hosts.toml files that runtimes use where nothing else is configured. */
const CERTS = [DEFAULT_CERTS, '/etc/docker/certs.d'];
/** The port of the agent, and the path of its block proxy, unless configured otherwise. */
const LOOKS_OURS =
  /^http:\/\/(?:127\.0\.0\.1|localhost|\[::1\]):(?:65001(?:\/|$)|\d+\/(?:dadip2p|api\/v1\/credentials)$)/;

/** The marks on a node before anything is restored. */
export interface Marks {
  /** TOML files that setup may have edited, each where all links lead. */
  readonly files: ReadonlyMap<string, { readonly service?: string; readonly isHost: boolean }>;
  /** URLs of agents that blocks of setup name. */
  readonly agents: ReadonlySet<string>;
}

/** Looks for the marks of setup. */
export async function findMarks(files: RootedFiles): Promise<Marks> {
  const found = new Map<string, { readonly service?: string; readonly isHost: boolean }>();
  const agents = new Set<string>();
  const note = async (path: string, facts: { readonly service?: string; readonly isHost: boolean }) => {
    const located = await files.locate(path).catch(() => path);
    const text = await textAt(files, located);
    if (text === undefined || !hasOwnBlock(text)) return;
    found.set(located, facts);
    for (const agent of agentsIn(text, path)) agents.add(agent);
  };
  const { paths, roots } = await containerdPlaces(files);
  for (const path of paths) await note(path, { service: 'containerd', isHost: false });
  for (const root of roots) {
    for (const host of await files.list(root).catch(() => []))
      await note(posix.join(root, host, 'hosts.toml'), { isHost: true });
  }
  const crio = (await findProgram(files, 'crio')) === undefined ? {} : { service: 'crio' };
  await note(OWN_REGISTRIES_CONF, { ...crio, isHost: false });
  return { files: found, agents };
}

/**
 * Takes out of the files what marks show to be ours. JSON files in `recorded` are as their records have it. In the others a value
 * that names the agent is ours with `isProof`, and is reported without.
 */
export async function takeOutMarks(
  files: RootedFiles,
  { files: marked, agents }: Marks,
  { recorded, isProof }: { readonly recorded: ReadonlySet<string>; readonly isProof: boolean },
): Promise<{ readonly changes: readonly NodeChange[]; readonly problems: readonly string[] }> {
  const changes: NodeChange[] = [];
  const problems: string[] = [];
  const attempt = async (path: string, work: () => Promise<NodeChange | string | undefined>) => {
    try {
      const done = await work();
      if (typeof done === 'string') problems.push(done);
      else if (done !== undefined) changes.push(done);
    } catch (error) {
      problems.push(`${path} is left as it is: ${problemText(error)}`);
    }
  };
  for (const [path, { service, isHost }] of marked) {
    await attempt(path, async () => {
      const state = await files.read(path);
      if (state === undefined || !hasOwnBlock(state.bytes.toString('utf8'))) return undefined;
      const rest = withoutOwnBlocks(textOf(state), path);
      const change = { path, note: UNKNOWN, ...(service === undefined ? {} : { service }) };
      if (rest.trim() !== '') {
        await files.write(path, Buffer.from(rest), state);
        return { ...change, action: 'ours taken out' };
      }
      await files.remove(path);
      // A folder of one host with nothing in it says nothing to containerd.
      if (isHost) await files.removeFolder(posix.dirname(path));
      return { ...change, action: 'removed' };
    });
  }
  const isOurs = (url: string) => isProof && [...agents].some((agent) => url === agent || url.startsWith(`${agent}/`));
  for (const one of [DOCKER, DEVICES, DEVICE_CREDENTIALS]) {
    await attempt(one.path, async () => {
      const path = await files.locate(one.path);
      if (recorded.has(path)) return undefined;
      const state = await files.read(path);
      if (state === undefined) return undefined;
      const text = textOf(state);
      const named = one.find(text);
      if (named === undefined || !(isOurs(named.url) || LOOKS_OURS.test(named.url) || agents.has(named.url)))
        return undefined;
      if (!isOurs(named.url)) {
        return `${one.path} has ${named.url} in ${one.key}, and the journal of setup does not know it. If this is the agent: ${one.byHand}.`;
      }
      await files.write(path, Buffer.from(revertJson(text, named.made, one.path)), state);
      return { path, action: 'ours taken out', note: `${UNKNOWN}, which also name ${named.url}`, service: one.service };
    });
  }
  return { changes, problems };
}

/** A value of a JSON file that setup sets. */
interface JsonPlace {
  readonly path: string;
  readonly key: string;
  readonly service: string;
  readonly byHand: string;
  /** The URL of an agent, and how it would have been put there. */
  readonly find: (text: string) => { readonly url: string; readonly made: readonly MadeJsonChange[] } | undefined;
}

const DOCKER: JsonPlace = {
  path: DAEMON_JSON,
  key: 'registry-mirrors',
  service: 'docker',
  byHand: 'take it out of the list, then systemctl reload docker',
  find: (text) => {
    const mirrors = jsonValue(text, ['registry-mirrors'], DAEMON_JSON);
    const url: unknown = Array.isArray(mirrors)
      ? mirrors.find((one) => typeof one === 'string' && isLocal(one))
      : undefined;
    if (typeof url !== 'string') return undefined;
    return { url, made: [{ path: ['registry-mirrors'], ours: JSON.stringify(url), isFirst: true, made: 1 }] };
  },
};
const DEVICES: JsonPlace = {
  path: OVERLAYBD_JSON,
  key: 'p2pConfig',
  service: 'overlaybd-tcmu',
  byHand: 'set p2pConfig.enable to false, then systemctl restart overlaybd-tcmu when no device is in use',
  find: (text) => inTable(text, 'p2pConfig', { enable: true }, 'address'),
};
const DEVICE_CREDENTIALS: JsonPlace = {
  path: OVERLAYBD_JSON,
  key: 'credentialConfig',
  service: 'overlaybd-tcmu',
  byHand: 'take credentialConfig out, then systemctl restart overlaybd-tcmu when no device is in use',
  find: (text) => {
    const found = inTable(text, 'credentialConfig', { mode: 'http' }, 'path');
    return found?.url.endsWith(CREDENTIALS_PATH) === true ? found : undefined;
  },
};

/** A table with a fixed value, and a URL of this node under another key. */
function inTable(text: string, table: string, fixed: Readonly<Record<string, boolean | string>>, key: string) {
  const value = jsonValue(text, [table], OVERLAYBD_JSON);
  if (!isRecord(value)) return undefined;
  const url = value[key];
  const isSet = Object.entries(fixed).every(([name, wanted]) => value[name] === wanted);
  if (!isSet || typeof url !== 'string' || !isLocal(url)) return undefined;
  const made = [...Object.entries(fixed), [key, url] as const].map(([name, ours]) => ({
    path: [table, name],
    ours: JSON.stringify(ours),
    isFirst: false,
    made: 1,
  }));
  return { url, made };
}

function isLocal(url: string): boolean {
  return /^http:\/\/(?:127\.0\.0\.1|localhost|\[::1\])[:/]/.test(url);
}

/** The agents that the blocks of a text name: of a hosts.toml the last host, since Spegel's comes before. */
function agentsIn(text: string, file: string): readonly string[] {
  let own: string;
  try {
    own = ownBlocksIn(text, file);
  } catch {
    // Taking it out says that the block has no end.
    return [];
  }
  const hosts = [...own.matchAll(/^\s*\[host\."([^"]+)"\]/gm)].map(([, url]) => url!);
  const mirrors = [...own.matchAll(/^location = "((?:127\.0\.0\.1|localhost|\[::1\]):\d+)/gm)];
  return [...hosts.slice(-1), ...mirrors.map(([, host]) => `http://${host!}`)];
}

async function containerdPlaces(
  files: RootedFiles,
): Promise<{ readonly paths: Set<string>; readonly roots: Set<string> }> {
  const paths = new Set([CONTAINERD_CONFIG]);
  const roots = new Set(CERTS);
  const names = await files.list('/etc/containerd/conf.d').catch(() => []);
  for (const name of names.filter((one) => one.endsWith('.toml'))) paths.add(`/etc/containerd/conf.d/${name}`);
  try {
    const config = await ContainerdConfig.read(files, (path) => textAt(files, path));
    for (const path of config.paths) paths.add(path);
    for (const { value } of [config.cri, config.transfer])
      for (const root of value.split(':')) if (root !== '') roots.add(root);
  } catch {
    // A broken configuration names no further files.
  }
  return { paths, roots };
}

/** The text at a path; undefined for what is no text file. */
async function textAt(files: RootedFiles, path: string): Promise<string | undefined> {
  return files.read(path).then(
    (state) => state?.bytes.toString('utf8'),
    () => undefined,
  );
}

function textOf({ bytes }: FileState): string {
  const text = bytes.toString('utf8');
  if (Buffer.from(text).equals(bytes)) return text;
  throw new Error('it is not UTF-8');
}
