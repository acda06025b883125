/** The check of the cache: its folder as it is, and as the running agent believes it to be. */
import { constants } from 'node:fs';
import { access, stat, statfs } from 'node:fs/promises';
import { posix } from 'node:path';
import { isRecord } from '../../../base/is-record.ts';
import { bytesOf } from '../../config/schema.ts';
import { localUrl } from './check-agent.ts';
import { type Check, type Examined, failed, ok, warning } from './node-check.ts';
import { probe, reasonOf, sumOf } from './probe.ts';

const NAME = 'disk';
/** Folders of blobs in the cache. */
const BLOB = /^sha256-[0-9a-f]{64}$/;
const WAIT = 'Run doctor again in a minute: the agent counts by itself what is there.';
const RESTART =
  'An agent makes the folder again by itself within a minute; as a service it may not: systemctl restart accel-agent.';

/** The cache as the running agent reports it. */
interface Believed {
  /** Bytes on disk. */
  readonly used: number;
  /** Pieces that it could not write since its start. */
  readonly unwritten: number;
}

/** Whether the cache has room, may be written, and holds what the running agent counts there. */
export async function checkDisk(examined: Examined): Promise<readonly Check[]> {
  const { config, files } = examined;
  const { path, keepFree, capacity } = config.agent.cache;
  const own = await files.locate(path);
  let folder = own;
  while (!(await files.exists(folder))) folder = posix.dirname(folder);
  const host = files.host(folder);
  const believed = await askAgent(examined);
  if (believed !== undefined) {
    const lost = `the agent that runs counts ${gigabytes(believed.used)} there, and could not write ${believed.unwritten} pieces`;
    if (folder !== own)
      return [failed(NAME, `${path} does not exist, though the agent made it at its start: ${lost}`, RESTART)];
    if (believed.used > 0 && !(await files.list(own)).some((name) => BLOB.test(name)))
      return [failed(NAME, `${path} is empty: ${lost}`, WAIT)];
  }
  try {
    if (!(await stat(host)).isDirectory())
      return [failed(NAME, `${path} is no folder`, 'Move the file away, or change agent.cache.path.')];
    await access(host, constants.W_OK);
    const { blocks, bavail, bsize } = await statfs(host);
    const [free, reserved] = [bavail * bsize, blocks * bsize * keepFree];
    const unwritten =
      believed === undefined || believed.unwritten === 0
        ? ''
        : `; ${believed.unwritten} pieces were not written since the agent's start`;
    const text = `${gigabytes(free)} of ${gigabytes(blocks * bsize)} are free at ${path}${unwritten}`;
    const fix =
      'Free space, or move agent.cache.path; without room pieces stay in memory and the registry is asked more often.';
    if (free < reserved) return [failed(NAME, `${text}; ${gigabytes(reserved)} stay free (agent.cache.keepFree)`, fix)];
    // Of a cache that exists, what it holds already counts as taken.
    const isTight = folder !== own && free - reserved < bytesOf(capacity);
    return [isTight ? warning(NAME, `${text}, less than agent.cache.capacity`, fix) : ok(NAME, text)];
  } catch (error) {
    return [failed(NAME, `${path}: ${reasonOf(error)}`, 'Let the agent write there, or change agent.cache.path.')];
  }
}

/** Asks the running agent; undefined where it does not answer as one. */
async function askAgent({ config }: Examined): Promise<Believed | undefined> {
  const url = localUrl(config.telemetry.listen);
  try {
    const [report, metrics] = await Promise.all([probe(`${url}/api/v1/agent`), probe(`${url}/metrics`)]);
    const { cache } = JSON.parse(report.body) as { cache?: unknown };
    if (report.status !== 200 || !isRecord(cache) || typeof cache.used !== 'number') return undefined;
    return { used: cache.used, unwritten: sumOf(metrics.body, 'accel_agent_cache_unwritten_pieces') };
  } catch {
    // The check of the agent says that it does not answer.
    return undefined;
  }
}

function gigabytes(bytes: number): string {
  return `${(bytes / 1e9).toFixed(1)} GB`;
}
