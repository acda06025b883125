/** Writes the files of `accel agent certificates`: an authority that is made once, and a folder for each node. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isAbsent } from '../../disk/write-atomically.ts';
import { createAuthority, issueNodeCertificate, type PemPair } from './certificates.ts';
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
  await mkdir(folder, { recursive: true });
  const now = Date.now();
  const authority =
    (await readAuthority(folder)) ?? (await createAuthority('accel agents', validity(now, AUTHORITY_DAYS)));
  if ((await readAuthority(folder)) === undefined) {
    await put(join(folder, 'ca.pem'), authority.cert, 0o644);
    await put(join(folder, 'ca-key.pem'), authority.key, 0o600);
  }
  for (const id of ids) {
    const own = join(folder, id.replace(/[[\]]/g, '').replaceAll(':', '-'));
    await mkdir(own, { recursive: true, mode: 0o700 });
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

async function readAuthority(folder: string): Promise<PemPair | undefined> {
  try {
    const [cert, key] = await Promise.all([
      readFile(join(folder, 'ca.pem'), 'utf8'),
      readFile(join(folder, 'ca-key.pem'), 'utf8'),
    ]);
    return { cert, key };
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}
