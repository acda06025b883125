/** `accel export nbd` running beside a test, and what its clients make of it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { ACCEL, requireBuild } from './accel.ts';
import { MountRefused, withMounted } from './ext4-judge.ts';
import { requireTool, run, withTempDirectory } from './tools.ts';

/** A server that runs. */
export interface NbdExport {
  /** Its output. */
  readonly uri: string;
  /** Its standard error so far. */
  log(): string;
  /** Interrupts it as Ctrl-C does; answers its exit code. */
  stop(signal?: NodeJS.Signals): Promise<number>;
}

/** Milliseconds until something that was started must be there. */
const START_TIME = 120_000;

/** Starts `accel export nbd` and waits for its address. Stop it in the end. */
export async function startExport(args: readonly string[]): Promise<NbdExport> {
  await requireBuild();
  const child = spawn(process.execPath, [ACCEL, 'export', 'nbd', ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, NO_COLOR: '1', DOCKER_CONFIG: '/nonexistent' },
  });
  const exited = once(child, 'exit') as Promise<[number | null]>;
  let log = '';
  child.stderr.on('data', (chunk: Buffer) => {
    log += chunk.toString('utf8');
  });
  const lines = createInterface({ input: child.stdout });
  const first = once(lines, 'line') as Promise<[string]>;
  const early = exited.then(([code]) => {
    throw new Error(`accel export nbd ${args.join(' ')}: exit ${code}\n${log}`);
  });
  const [uri] = await Promise.race([first, early]);
  early.catch(() => undefined);
  return {
    uri,
    log: () => log,
    async stop(signal = 'SIGINT') {
      child.kill(signal);
      const [code] = await exited;
      return code ?? 128;
    },
  };
}

/** Runs `body` while an image is served; stops the server whatever happens. */
export async function withExport<T>(args: readonly string[], body: (server: NbdExport) => Promise<T>): Promise<T> {
  const server = await startExport(args);
  try {
    return await body(server);
  } finally {
    await server.stop();
  }
}

/**
 * Runs `body` with the path of a file that nbdfuse makes of the export. Throws {@link MountRefused} where FUSE is not
 * allowed.
 */
export async function withNbdFuse<T>(uri: string, body: (file: string) => Promise<T>): Promise<T> {
  await access('/dev/fuse').catch((cause: unknown) => {
    throw new MountRefused('there is no /dev/fuse', { cause });
  });
  return withTempDirectory(async (directory) => {
    const child = spawn(requireTool('nbdfuse'), ['--readonly', directory, uri], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    const exited = once(child, 'exit');
    const file = join(directory, 'nbd');
    await untilMounted(child, file);
    try {
      return await body(file);
    } finally {
      await run('umount', [directory]);
      await exited;
    }
  });
}

/** Runs `body` on the export's file system as the kernel mounts it, every block of it read as it is asked for. */
export async function withKernelMount<T>(uri: string, body: (directory: string) => Promise<T>): Promise<T> {
  return withNbdFuse(uri, (file) => withMounted(file, body));
}

async function untilMounted(child: ChildProcess, file: string): Promise<void> {
  let said = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    said += chunk.toString('utf8');
  });
  for (const end = Date.now() + START_TIME; Date.now() < end; ) {
    if (await stat(file).catch(() => undefined)) return;
    if (child.exitCode !== null) throw new MountRefused(`nbdfuse: exit ${child.exitCode}\n${said}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  child.kill('SIGKILL');
  throw new Error(`nbdfuse did not mount\n${said}`);
}

/** Whether two images hold the same bytes, by a foreign tool that passes over holes. */
export async function sameFiles(a: string, b: string): Promise<boolean> {
  const { exitCode } = await run('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', a, b], { accept: [0, 1] });
  return exitCode === 0;
}

/** Bytes that a file takes on disk. */
export async function allocated(file: string): Promise<number> {
  return (await stat(file)).blocks * 512;
}

/** The parts of `nbdinfo --json` that tests look at. */
export interface NbdInfo {
  readonly exports: readonly {
    readonly 'export-name': string;
    readonly 'export-size': number;
    readonly description?: string;
    readonly is_read_only: boolean;
    readonly can_multi_conn: boolean;
    readonly contexts: readonly string[];
  }[];
}

/** The report of nbdinfo about an export. */
export async function nbdInfo(uri: string): Promise<NbdInfo> {
  const { stdout } = await run('nbdinfo', ['--json', uri]);
  return JSON.parse(stdout.toString('utf8')) as NbdInfo;
}
