/** Archives whose bytes depend on nothing but their content: no time, no user, entries in the order given. */
import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream, readFileSync } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { pack } from 'tar-stream';

/** A file to pack. */
export interface Packed {
  /** Its path in the archive. */
  readonly name: string;
  readonly content: string | Buffer;
  readonly mode?: number;
}

/** Writes a tar archive under gzip. */
export async function writeArchive(path: string, files: readonly Packed[]): Promise<void> {
  const archive = pack();
  const writing = pipeline(archive, createGzip({ level: 6 }), createWriteStream(path));
  for (const { name, content, mode = 0o644 } of files) {
    const header = { name, mode, uid: 0, gid: 0, uname: 'root', gname: 'root', mtime: new Date(0) };
    archive.entry(header, typeof content === 'string' ? content : Buffer.from(content));
  }
  archive.finalize();
  await writing;
}

/** A line for `sha256sum --check`. */
export async function checksumLine(path: string, name: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return `${hash.digest('hex')}  ${name}\n`;
}

/** Shared libraries as archives hold them, where the executable looks for them. */
export function packedLibraries(root: string, paths: readonly string[]): Packed[] {
  return paths.map((path) => ({
    name: `${root}/lib/accel/${path.split('/').at(-1)}`,
    content: readFileSync(path),
    mode: 0o755,
  }));
}
