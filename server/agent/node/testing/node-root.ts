/** A node's files in a temporary folder, and one hash over all of them. */
import { createHash } from 'node:crypto';
import {
  chmod,
  chown,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { CONFIG_SCHEMA, type Config } from '../../../config/schema.ts';

/** A file: its text, or what else is there. */
export type NodeEntry =
  | string
  | { readonly text: string; readonly mode?: number; readonly owner?: number }
  | { readonly link: string }
  | { readonly folder: number };

/** Files of a node by their path. */
export type NodeFiles = Readonly<Record<string, NodeEntry>>;

/** See the head of the file. */
export class NodeRoot {
  readonly path: string;

  private constructor(path: string) {
    this.path = path;
  }

  /** Writes a node's files, in a folder of its own below `place`. */
  static async make(files: NodeFiles, place = tmpdir()): Promise<NodeRoot> {
    const node = new NodeRoot(await mkdtemp(join(place, 'accel-node-')));
    await node.add(files);
    return node;
  }

  /** Writes more files; existing ones keep their mode and owner. */
  async add(files: NodeFiles): Promise<void> {
    for (const [path, entry] of Object.entries(files)) {
      const target = join(this.path, path);
      await mkdir(dirname(target), { recursive: true });
      if (typeof entry === 'string') await writeFile(target, entry);
      else if ('link' in entry) await symlink(entry.link, target);
      else if ('folder' in entry) {
        await mkdir(target, { recursive: true });
        await chmod(target, entry.folder);
      } else {
        await writeFile(target, entry.text);
        await chmod(target, entry.mode ?? 0o644);
        if (entry.owner !== undefined) await chown(target, entry.owner, entry.owner);
      }
    }
  }

  /** The text of a file. */
  read(path: string): Promise<string> {
    return readFile(join(this.path, path), 'utf8');
  }

  /** All that is there, one line each: path, kind, mode, owner, and content or target. */
  async listing(): Promise<readonly string[]> {
    const lines: string[] = [];
    const names = (await readdir(this.path, { recursive: true })).sort();
    for (const name of names) {
      const path = join(this.path, name);
      const stat = await lstat(path);
      const content = stat.isSymbolicLink() ? await readlink(path) : stat.isFile() ? sha256(await readFile(path)) : '';
      lines.push([name, stat.mode.toString(8), stat.uid, stat.gid, content].join(' '));
    }
    return lines;
  }

  /** SHA-256 over the listing. */
  async hash(): Promise<string> {
    return sha256(Buffer.from((await this.listing()).join('\n')));
  }

  /** Removes the folder. */
  async remove(): Promise<void> {
    await rm(this.path, { recursive: true, force: true });
  }
}

/** A configuration as the schema completes it. */
export function configOf(values: unknown): Config {
  return CONFIG_SCHEMA.parse(values);
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
