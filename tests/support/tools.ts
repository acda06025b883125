/** The foreign tools that judge accel's output: found, run, and asked for by their Debian package when they are missing. */
import { spawn } from 'node:child_process';
import { accessSync, constants, readFileSync, rmSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { describe, test } from 'vitest';

/** Where Debian has each tool; a tool that is not listed is its own package. */
const PACKAGES: Readonly<Record<string, string>> = {
  ctr: 'containerd',
  ip: 'iproute2',
  tc: 'iproute2',
  nsenter: 'util-linux',
  promtool: 'prometheus',
  'systemd-socket-activate': 'systemd',
  debugfs: 'e2fsprogs',
  chattr: 'e2fsprogs',
  ldconfig: 'libc-bin',
  split: 'coreutils',
  sha256sum: 'coreutils',
  readelf: 'binutils',
  dumpe2fs: 'e2fsprogs',
  e2fsck: 'e2fsprogs',
  mke2fs: 'e2fsprogs',
  mount: 'mount',
  umount: 'mount',
  getfattr: 'attr',
  setfattr: 'attr',
  setfacl: 'acl',
  setcap: 'libcap2-bin',
  nbdcopy: 'libnbd-bin',
  nbdfuse: 'libnbd-bin',
  nbdinfo: 'libnbd-bin',
  'qemu-img': 'qemu-utils',
  gzip: 'gzip',
  zstd: 'zstd',
  initdb: 'postgresql',
  postgres: 'postgresql',
  psql: 'postgresql-client',
};

/** Debian keeps e2fsck and its like, and the programs of PostgreSQL, where an ordinary user's PATH does not look. */
const SYSTEM_DIRECTORIES = ['/usr/local/sbin', '/usr/sbin', '/sbin', '/usr/lib/postgresql/15/bin'];

const CACHE = process.env.ACCEL_CACHE ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'accel');

/** Tools that Debian does not have, where .ci/run builds them; elsewhere they are looked for like the others. */
const BUILT: Readonly<Record<string, string>> = {
  'distribution-3': join(CACHE, 'tools/distribution-3.1.2/registry'),
  'referrers-registry': join(CACHE, 'tools/referrers-registry-0.20.6/registry'),
  cosign: join(CACHE, 'tools/cosign-3.1.3/cosign'),
  helm: join(CACHE, 'tools/helm-3.22.0/helm'),
};

/** The path of a tool, or undefined when this machine does not have it. */
export function findTool(name: string): string | undefined {
  const built = BUILT[name];
  if (built !== undefined && isExecutable(built)) return built;
  for (const directory of [...(process.env.PATH ?? '').split(delimiter), ...SYSTEM_DIRECTORIES]) {
    const path = join(directory, name);
    if (isExecutable(path)) return path;
  }
  return undefined;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** The path of a tool; throws an Error that names the Debian package when it is missing. */
export function requireTool(name: string): string {
  const path = findTool(name);
  if (path !== undefined) return path;
  const advice = name in BUILT ? '.ci/run builds it' : `apt-get install ${PACKAGES[name] ?? name}`;
  throw new Error(`${name} is missing on this machine: ${advice}`);
}

/** True when this process may mount and make device nodes. */
export function isRoot(): boolean {
  return process.getuid?.() === 0;
}

/** The needs of a suite beside Node. */
export interface Needs {
  readonly tools: readonly string[];
  readonly root?: boolean;
}

/**
 * A `describe` for tests that a foreign tool judges. Where something is missing the suite is skipped on a developer's
 * machine and fails where `CI` is set: a check that silently did not run proves nothing.
 */
export function describeWith(needs: Needs, name: string, body: () => void): void {
  const missing = needs.tools.filter((tool) => findTool(tool) === undefined);
  if (needs.root === true && !isRoot()) missing.push('root');
  if (missing.length === 0) {
    describe(name, body);
  } else if (process.env.CI) {
    describe(name, () => {
      test('has what it needs', () => {
        throw new Error(`missing on this machine: ${missing.join(', ')} (packages: ${packagesOf(missing).join(' ')})`);
      });
    });
  } else {
    describe.skip(`${name} (needs ${missing.join(', ')})`, body);
  }
}

function packagesOf(tools: readonly string[]): string[] {
  return [...new Set(tools.filter((tool) => tool !== 'root').map((tool) => PACKAGES[tool] ?? tool))];
}

/** Options of {@link run}. */
export interface RunOptions {
  /** Bytes for its standard input; nothing by default. */
  readonly input?: Uint8Array | string;
  readonly cwd?: string;
  /** Added to this process's environment; `undefined` takes a variable away. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Exit codes that are not an error, 0 by default; `'any'` accepts each. */
  readonly accept?: readonly number[] | 'any';
  /** Milliseconds after which it is killed; 5 minutes by default. */
  readonly timeout?: number;
}

/** The result of a tool. */
export interface RunResult {
  readonly stdout: Buffer;
  readonly stderr: string;
  readonly exitCode: number;
}

/** Runs a tool to its end; throws an Error with its standard error and output unless the exit code is accepted. */
export async function run(command: string, args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  const path = command.includes('/') ? command : requireTool(command);
  const child = spawn(path, args, {
    cwd: options.cwd,
    env: { ...process.env, ...options.env },
    stdio: ['pipe', 'pipe', 'pipe'],
    timeout: options.timeout ?? 300_000,
    killSignal: 'SIGKILL',
  });
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
  // A tool may end without reading all of its input; its exit code says whether that was a failure.
  child.stdin.on('error', () => undefined);
  child.stdin.end(options.input ?? '');
  const [code, signal] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (exitCode, exitSignal) => resolve([exitCode, exitSignal]));
  });
  const result: RunResult = {
    stdout: Buffer.concat(stdout),
    stderr: Buffer.concat(stderr).toString('utf8'),
    exitCode: code ?? 128,
  };
  const accept = options.accept ?? [0];
  if (signal === null && (accept === 'any' || accept.includes(result.exitCode))) return result;
  const said = `${result.stderr}\n${tail(result.stdout.toString('utf8'))}`.trim();
  throw new Error(`${command} ${args.join(' ')}: ${signal ?? `exit ${result.exitCode}`}\n${said}`);
}

function tail(text: string): string {
  return text.length > 4000 ? `…${text.slice(-4000)}` : text;
}

/** A directory of its own for a test. */
export interface TempDirectory {
  readonly path: string;
  /** Removes it with all that is in it. */
  remove(): Promise<void>;
}

/** Directories that are not removed yet. */
const made = new Set<string>();
// A test that timed out or failed to start never comes to its end.
process.once('exit', () => {
  for (const path of made) {
    // Never into a file system that is mounted there.
    if (process.platform === 'linux' && mountsBelow(path).length === 0) rmSync(path, { recursive: true, force: true });
  }
});

/** The lines of /proc/self/mounts that name `path` or something below it; none outside Linux. */
export function mountsBelow(path: string): string[] {
  if (process.platform !== 'linux') return [];
  return readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .filter((line) => line.includes(path));
}

/** A fresh empty directory under the system's temporary one; the caller removes it, at the latest the process does. */
export async function tempDirectory(prefix = 'accel-test-'): Promise<TempDirectory> {
  const path = await mkdtemp(join(tmpdir(), prefix));
  made.add(path);
  return {
    path,
    async remove() {
      await rm(path, { recursive: true, force: true });
      made.delete(path);
    },
  };
}

/** Runs `body` with a fresh directory that is gone afterwards, whatever happened. */
export async function withTempDirectory<T>(body: (directory: string) => Promise<T>): Promise<T> {
  const directory = await tempDirectory();
  try {
    return await body(directory.path);
  } finally {
    await directory.remove();
  }
}
