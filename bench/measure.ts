/**
 * Loaded into a measured process by `--import`: when it ends it writes what it used to the file that ACCEL_BENCH_USAGE
 * names. The kernel counts every thread of the process, so that worker threads are in it.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { isMainThread } from 'node:worker_threads';

/** What one process used. */
export interface Usage {
  /** Seconds from start to end, as the process itself saw them. */
  readonly wall: number;
  /** Seconds of processor time, user and system, of all its threads. */
  readonly cpu: number;
  /** Largest resident set in bytes. */
  readonly peakRss: number;
  /** Bytes that it made the storage write; 0 where /proc does not tell. */
  readonly written: number;
}

const target = process.env.ACCEL_BENCH_USAGE;
if (target !== undefined && isMainThread) {
  process.on('exit', () => {
    const { userCPUTime, systemCPUTime, maxRSS } = process.resourceUsage();
    const usage: Usage = {
      wall: process.uptime(),
      cpu: (userCPUTime + systemCPUTime) / 1e6,
      peakRss: maxRSS * 1024,
      written: bytesWritten(),
    };
    writeFileSync(target, JSON.stringify(usage));
  });
}

function bytesWritten(): number {
  if (process.platform !== 'linux') return 0;
  return Number(/^write_bytes: (\d+)$/m.exec(readFileSync('/proc/self/io', 'latin1'))?.[1] ?? 0);
}
