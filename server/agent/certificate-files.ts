/** Writes the files of `accel agent certificates`: an authority that is made once, and a folder for each node. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AccelError } from '../../base/error.ts';
import { makeFolder } from '../../disk/make-folder.ts';
import { isAbsent } from '../../disk/write-atomically.ts';
import { createAuthority, type PemPair } from '../certificates/authority.ts';
import { issueNodeCertificate } from './certificates.ts';
import { parseMember } from './peers/member-sources.ts';

/** Days for which an authority holds. */
const AUTHORITY_DAYS = 3650;
const DAY = 86_400_000;
/** Clocks of nodes may differ. */
const EARLIER = 600_000;

/**
 * Makes the authority unless the folder has one, and for each node a folder with `ca.pem`, `cert.pem` and `key.pem`. Returns the
 * files that were written. Fails with `usage` for a node that is no IP:PORT, `io-error` for a folder that cannot be written.
 */
export async function writeCertificateFiles({
  folder,
  nodes,
  days,
}: {
  readonly folder: string;
  readonly nodes: readonly string[];
  readonly days: number;
}): Promise<readonly string[]> {
  const ids = nodes.map((node, index) => parseMember(node, `node ${index + 1}`).id);
  const written: string[] = [];
  const put = async (path: string, text: string, mode: number) => {
    await writeFile(path, text, { mode });
    written.push(path);
  };
  await makeFolder(folder);
  const now = Date.now();
  const authority =
    (await readAuthority(folder)) ?? (await createAuthority('accel agents', validity(now, AUTHORITY_DAYS)));
  if ((await readAuthority(folder)) === undefined) {
    await put(join(folder, 'ca.pem'), authority.cert, 0o644);
    await put(join(folder, 'ca-key.pem'), authority.key, 0o600);
  }
  for (const id of ids) {
    const own = join(folder, id.replace(/[[\]]/g, '').replaceAll(':', '-'));
    await makeFolder(own, 0o700);
    const { cert, key } = await issueNodeCertificate(authority, id, validity(now, days));
    await put(join(own, 'ca.pem'), authority.cert, 0o644);
    await put(join(own, 'cert.pem'), cert, 0o644);
    await put(join(own, 'key.pem'), key, 0o600);
  }
  return written;
}

function validity(now: number, days: number) {
  return { from: new Date(now - EARLIER), to: new Date(now + days * DAY) };
}

/**
 * The authority of a folder; undefined without one. Throws `usage` for half of one: another authority would take its place, and
 * nodes that have certificates of the old one would not know those of the new one.
 */
async function readAuthority(folder: string): Promise<PemPair | undefined> {
  const [cert, key] = await Promise.all(['ca.pem', 'ca-key.pem'].map((name) => readPem(join(folder, name))));
  if (cert !== undefined && key !== undefined) return { cert, key };
  if (cert === undefined && key === undefined) return undefined;
  const missing = cert === undefined ? 'ca.pem' : 'ca-key.pem';
  throw new AccelError('usage', 'the folder has half of an authority', {
    where: { folder },
    expected: 'ca.pem and ca-key.pem, or neither',
    found: `no ${missing}`,
    hint: `Put ${missing} back for this call, or name an empty folder for a new authority and give all nodes new certificates.`,
  });
}

async function readPem(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}
