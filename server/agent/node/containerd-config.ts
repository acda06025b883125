/** Reads containerd's configuration as containerd does: version, imports, and the folder of hosts.toml files that it uses. */
import { execFile } from 'node:child_process';
import { posix } from 'node:path';
import { promisify } from 'node:util';
import { isRecord } from '../../../base/is-record.ts';
import type { RootedFiles } from './rooted-files.ts';
import { findProgram } from './setup-context.ts';
import { parseToml, tomlValue } from './toml-text.ts';

/** Where containerd looks for its configuration. */
export const CONTAINERD_CONFIG = '/etc/containerd/config.toml';
/** The folder that setup chooses where none is configured. */
export const DEFAULT_CERTS = '/etc/containerd/certs.d';
const TRANSFER = ['plugins', 'io.containerd.transfer.v1.local'];
/** Files of one configuration. */
const MOST_FILES = 100;
const VERSION_TIMEOUT = 10_000;

/** A version of containerd; the last part does not matter here. */
export interface ContainerdVersion {
  readonly major: number;
  readonly minor: number;
  readonly text: string;
}

/** One file of the configuration. */
interface ConfigFile {
  readonly path: string;
  readonly document: Record<string, unknown>;
  /** Version of the form: 1 where the file does not say it. */
  readonly version: number;
}

/** A value, and the file that it is in or has to be in. */
export interface ConfigPlace {
  /** Empty where it is not set. */
  readonly value: string;
  readonly file: string;
  /** Tables and key in that file. */
  readonly path: readonly string[];
}

/** Reads a text of the node; undefined where it is missing. */
export type ReadText = (path: string) => Promise<string | undefined>;

/** See the head of the file. */
export class ContainerdConfig {
  readonly #files: readonly ConfigFile[];
  readonly version: ContainerdVersion | undefined;

  private constructor(files: readonly ConfigFile[], version: ContainerdVersion | undefined) {
    this.#files = files;
    this.version = version;
  }

  /** Reads the configuration with all imports. Fails with `io-error` for a file that is no TOML. */
  static async read(files: RootedFiles, text: ReadText): Promise<ContainerdConfig> {
    const found: ConfigFile[] = [];
    const waiting = [CONTAINERD_CONFIG];
    for (let path = waiting.shift(); path !== undefined && found.length < MOST_FILES; path = waiting.shift()) {
      const content = await text(path);
      if (content === undefined || found.some((file) => file.path === path)) continue;
      const document = parseToml(content, path);
      const { version, imports } = document;
      found.push({ path, document, version: typeof version === 'number' ? version : (found[0]?.version ?? 1) });
      for (const pattern of Array.isArray(imports) ? imports : []) {
        if (typeof pattern === 'string')
          waiting.push(...(await expand(files, posix.resolve(posix.dirname(path), pattern))));
      }
    }
    return new ContainerdConfig(found, await containerdVersion(files));
  }

  /** The files that were read. */
  get paths(): readonly string[] {
    return this.#files.map(({ path }) => path);
  }

  /** Whether there is a configuration file. */
  get exists(): boolean {
    return this.#files.length > 0;
  }

  /** Whether this is containerd 2 or newer; a form of version 3 is only read by these. */
  get isV2(): boolean {
    return this.version === undefined ? (this.#files[0]?.version ?? 0) >= 3 : this.version.major >= 2;
  }

  /** Whether `config_path` is one folder, where older versions split it at colons. */
  get readsOnePath(): boolean {
    if (this.version === undefined) return this.isV2;
    return this.version.major > 2 || (this.version.major === 2 && this.version.minor >= 1);
  }

  /** The folder of hosts.toml files of the CRI plugin. */
  get cri(): ConfigPlace {
    return this.#place(({ version }) => [...criTable(version), 'config_path']);
  }

  /** The same of the transfer service, which `ctr images pull` uses in containerd 2. */
  get transfer(): ConfigPlace {
    return this.#place(() => [...TRANSFER, 'config_path']);
  }

  /** Settings of an old form that containerd refuses together with `config_path`, as `FILE: TABLE`. */
  get conflicts(): readonly string[] {
    return this.#files.flatMap(({ path, document, version }) => {
      const registry = tomlValue(document, criTable(version));
      if (!isRecord(registry)) return [];
      const { mirrors, configs } = registry;
      const tls = isRecord(configs)
        ? Object.entries(configs).filter(([, host]) => isRecord(host) && isRecord(host.tls))
        : [];
      return [
        ...(isRecord(mirrors) && Object.keys(mirrors).length > 0 ? [`${path}: registry.mirrors`] : []),
        ...tls.map(([host]) => `${path}: registry.configs."${host}".tls`),
      ];
    });
  }

  /** Address of the socket. */
  get address(): string {
    const set = this.#files.flatMap(({ document }) => tomlValue(document, ['grpc', 'address']) ?? []).at(-1);
    return typeof set === 'string' && set !== '' ? set : '/run/containerd/containerd.sock';
  }

  /** The table of a proxy plugin; undefined without one. */
  proxyPlugin(name: string): Record<string, unknown> | undefined {
    const found = this.#files.map(({ document }) => tomlValue(document, ['proxy_plugins', name])).findLast(isRecord);
    return found;
  }

  /** Containerd 1 takes a plugin's section whole from the last file that has it, containerd 2 merges the sections. */
  #place(pathIn: (file: ConfigFile) => readonly string[]): ConfigPlace {
    const having = this.#files.filter((file) => tomlValue(file.document, pathIn(file).slice(0, 2)) !== undefined);
    const last = having.at(-1);
    const valueIn = (file: ConfigFile) => {
      const value = tomlValue(file.document, pathIn(file));
      return typeof value === 'string' ? value : '';
    };
    const setting = this.isV2 ? having.findLast((file) => valueIn(file) !== '') : last;
    const file = (setting !== undefined && valueIn(setting) !== '' ? setting : last) ?? this.#files[0];
    if (file === undefined) {
      const made = { path: CONTAINERD_CONFIG, document: {}, version: this.isV2 ? 3 : 2 };
      return { value: '', file: made.path, path: pathIn(made) };
    }
    return { value: valueIn(file), file: file.path, path: pathIn(file) };
  }
}

/** The table of the CRI plugin's registries in each version of the form. */
function criTable(version: number): readonly string[] {
  if (version >= 3) return ['plugins', 'io.containerd.cri.v1.images', 'registry'];
  return ['plugins', version === 2 ? 'io.containerd.grpc.v1.cri' : 'cri', 'registry'];
}

/** The version of the node's containerd; undefined where it cannot be run. */
async function containerdVersion(files: RootedFiles): Promise<ContainerdVersion | undefined> {
  const program = await findProgram(files, 'containerd');
  if (program === undefined) return undefined;
  const { stdout } = await promisify(execFile)(program, ['-v'], { timeout: VERSION_TIMEOUT }).catch(() => ({
    stdout: '',
  }));
  const [, major, minor, rest = ''] = / v?(\d+)\.(\d+)(\.\S+)?/.exec(stdout) ?? [];
  return major === undefined
    ? undefined
    : { major: Number(major), minor: Number(minor), text: `${major}.${minor}${rest}` };
}

/** The files of a glob, as Go's filepath.Glob has it. */
async function expand(files: RootedFiles, pattern: string): Promise<readonly string[]> {
  let found = ['/'];
  for (const segment of pattern.split('/').filter((part) => part !== '')) {
    if (!/[*?[]/.test(segment)) {
      found = found.map((folder) => posix.join(folder, segment));
      continue;
    }
    const source = segment
      .replace(/[.+^${}()|\\]/g, '\\$&')
      .replaceAll('*', '[^/]*')
      .replaceAll('?', '[^/]');
    const names = new RegExp(`^${source}$`);
    const next = found.map(async (folder) =>
      (await files.list(folder)).filter((name) => names.test(name)).map((name) => posix.join(folder, name)),
    );
    found = (await Promise.all(next)).flat();
  }
  return found;
}
