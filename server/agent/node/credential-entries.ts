/** Takes the entries that the agent wrote out of overlaybd's credential file; those of others stay, byte for byte. */
import { isRecord } from '../../../base/is-record.ts';
import { jsonValue, withoutJsonKey } from './json-text.ts';
import type { NodeChange } from './node-changes.ts';
import { problemText } from './problem-text.ts';
import type { RootedFiles } from './rooted-files.ts';
import { OVERLAYBD_JSON } from './setup-json.ts';

const DEFAULT_FILE = '/opt/overlaybd/cred.json';
const AGAIN = 'an agent that still runs writes them again: run cleanup once more when it has stopped';

/** The credential files that overlaybd is configured to read, and its usual one. */
export async function credentialFiles(files: RootedFiles): Promise<readonly string[]> {
  const paths = new Set([DEFAULT_FILE]);
  try {
    const text = (await files.read(OVERLAYBD_JSON))?.bytes.toString('utf8') ?? '{}';
    for (const key of [['credentialConfig', 'path'], ['credentialFilePath']]) {
      const path = jsonValue(text, key, OVERLAYBD_JSON);
      if (typeof path === 'string' && path.startsWith('/')) paths.add(path);
    }
  } catch {
    // A broken configuration names no file; restoring it says what is wrong.
  }
  return [...paths];
}

/** Takes the agent's entries out of each of these files. */
export async function takeOutCredentials(
  files: RootedFiles,
  paths: readonly string[],
): Promise<{ readonly changes: readonly NodeChange[]; readonly problems: readonly string[] }> {
  const changes: NodeChange[] = [];
  const problems: string[] = [];
  for (const path of paths) {
    try {
      const change = await takeOut(files, await files.locate(path));
      if (change !== undefined) changes.push(change);
    } catch (error) {
      problems.push(`the agent's credentials may still be in ${path}: ${problemText(error)}`);
    }
  }
  return { changes, problems };
}

async function takeOut(files: RootedFiles, path: string): Promise<NodeChange | undefined> {
  await files.removeTemporary(path);
  const state = await files.read(path);
  const text = state?.bytes.toString('utf8') ?? '';
  // The agent names its entries under this key.
  if (state === undefined || !text.includes('"accel"')) return undefined;
  const ours = jsonValue(text, ['accel'], path);
  if (!Array.isArray(ours)) return undefined;
  const hosts = ours.filter((host) => typeof host === 'string');
  const rest = [...hosts.map((host) => ['auths', host]), ['accel']].reduce(
    (current, key) => withoutJsonKey(current, key, path),
    text,
  );
  const note = `${hosts.length} credentials of the agent are taken out; ${AGAIN}`;
  const left = jsonValue(rest, [], path);
  const isEmpty =
    isRecord(left) &&
    Object.entries(left).every(([key, value]) => key === 'auths' && isRecord(value) && Object.keys(value).length === 0);
  if (isEmpty) {
    await files.remove(path);
    return { path, action: 'removed', note };
  }
  await files.write(path, Buffer.from(rest), state);
  return { path, action: 'ours taken out', note };
}
