/** The contract between setup and its parts, one for each runtime. */
import type { FileEdit, NodeChange, NodeChanges } from './node-changes.ts';
import type { RootedFiles } from './rooted-files.ts';

/** A registry that images are pulled from through the agent. */
export interface SetupRegistry {
  /** `host[:port]` as references have it; Docker Hub is `docker.io`. */
  readonly host: string;
  readonly plain: boolean;
  /** PEM file of authorities that are trusted beside the system's. */
  readonly caFile: string | undefined;
  /** Another name by which its images are pulled through the agent. */
  readonly p2pName?: string | undefined;
}

/** The configuration, as far as runtimes need it. */
export interface SetupTarget {
  /** `http://127.0.0.1:65001`: where the agent answers on this node. */
  readonly agent: string;
  /** Its port, which is in the names that P2P references have. */
  readonly port: number;
  /** `http://127.0.0.1:65001/dadip2p`: its block proxy. */
  readonly blockProxy: string;
  /** Spegel's mirror, for the engine spegel: containerd asks it first. */
  readonly spegel?: string;
  /** Where overlaybd asks for credentials: an endpoint of the agent, or a file that it keeps. */
  readonly credentials?: { readonly mode: 'http' | 'file'; readonly path: string };
  readonly registries: readonly SetupRegistry[];
}

/** A daemon that has to read its configuration again. */
export interface Restart {
  /** Name of its unit. */
  readonly service: string;
  readonly action: 'restart' | 'reload';
  readonly why: string;
  /** Why it is not restarted here even when that is asked for. */
  readonly byHand?: string;
}

/** Reports what was done and what a person has to know. */
export interface SetupReport {
  readonly changes: readonly NodeChange[];
  /** Facts that need no action. */
  readonly notes: readonly string[];
  /** Reasons why a runtime is not, or not fully, set up. */
  readonly problems: readonly string[];
}

/** See the head of the file: the node, the target, and the report as it grows. */
export class SetupContext implements SetupReport {
  readonly files: RootedFiles;
  readonly target: SetupTarget;
  readonly changes: NodeChange[] = [];
  readonly notes: string[] = [];
  readonly problems: string[] = [];
  readonly #node: NodeChanges;

  constructor(files: RootedFiles, node: NodeChanges, target: SetupTarget) {
    this.files = files;
    this.#node = node;
    this.target = target;
  }

  /** The text of a TOML file without what setup added; undefined where the file is missing. */
  text(path: string): Promise<string | undefined> {
    return this.#node.text(path);
  }

  /** Edits a file; whether it was changed. */
  async apply(edit: FileEdit): Promise<boolean> {
    const change = await this.#node.apply(edit);
    if (change !== undefined) this.changes.push(change);
    return change !== undefined;
  }

  /** Whether one of these programs is on the node. */
  async hasProgram(...names: readonly string[]): Promise<boolean> {
    return (await findProgram(this.files, ...names)) !== undefined;
  }
}

/** The path on this machine of a program of the node; undefined where it has none of these names. */
export async function findProgram(files: RootedFiles, ...names: readonly string[]): Promise<string | undefined> {
  for (const folder of ['/usr/local/bin', '/usr/bin', '/usr/local/sbin', '/usr/sbin', '/opt/bin']) {
    for (const name of names) {
      const located = await files.locate(`${folder}/${name}`);
      if (await files.exists(located)) return files.host(located);
    }
  }
  return undefined;
}
