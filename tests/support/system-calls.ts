/** Runs accel while the kernel refuses one of its system calls, or ends the process at it: strace does both. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ACCEL } from './accel.ts';
import { run, withTempDirectory } from './tools.ts';

/** The fault at a call: it is not made and answers that error, or it is and the process gets a signal. */
export type CallFault = 'EIO' | 'ENOSPC' | 'SIGKILL' | 'SIGTERM';

/** See {@link accelWithFault}. */
export interface FaultyRun {
  /** As a shell reports it: 137 for SIGKILL. */
  readonly exitCode: number;
  readonly stderr: string;
  /** The calls that were hit, as strace writes them, with the paths of their files; none if there are not that many. */
  readonly hits: readonly string[];
}

/**
 * Runs accel with a fault at the `nth` call (from 1) of a kind, such as `pwrite64`. Calls are counted by thread; those to
 * files are made by one of them, for libuv gets one thread for them.
 */
export async function accelWithFault(
  args: readonly string[],
  { call, fault, nth }: { readonly call: string; readonly fault: CallFault; readonly nth: number },
): Promise<FaultyRun> {
  return withTempDirectory(async (directory) => {
    const log = join(directory, 'calls');
    // With the fast filter strace 6.1 sends no signal but at the first call.
    const effect = fault.startsWith('SIG') ? [`signal=${fault}`, []] : ([`error=${fault}`, ['--seccomp-bpf']] as const);
    const strace = ['--follow-forks', ...effect[1], '--decode-fds=path', '--quiet=all', '-s', '0', '-o', log];
    const injection = ['-e', `trace=${call}`, '-e', `inject=${call}:${effect[0]}:when=${nth}`];
    // strace ends by the signal that ended accel; a shell makes a number of it.
    const line = ['-c', '"$0" "$@"; exit $?', 'strace', ...strace, ...injection, process.execPath, ACCEL, ...args];
    const env = { UV_THREADPOOL_SIZE: '1', NO_COLOR: '1', TMPDIR: directory, DOCKER_CONFIG: directory };
    const { exitCode, stderr } = await run('bash', line, { accept: 'any', env });
    const lines = (await readFile(log, 'latin1')).split('\n');
    const killed = exitCode === 137 ? lines.filter((text) => text.includes(`${call}(`)).slice(-1) : [];
    return { exitCode, stderr, hits: [...lines.filter((text) => /\(INJECTED\)|--- SIGTERM/.test(text)), ...killed] };
  });
}
