/**
 * Loaded into a measured Node process by `--import`: when it ends it writes its largest resident set to the file that
 * ACCEL_BENCH_RSS names. The kernel's high-water mark is of the program that runs, where `ru_maxrss` may be that of the
 * process which started it.
 */
import { writeFileSync } from 'node:fs';
import { isMainThread } from 'node:worker_threads';
import { highWater } from './counters.ts';

const target = process.env.ACCEL_BENCH_RSS;
if (target !== undefined && isMainThread) {
  process.on('exit', () => {
    const known = highWater('self');
    writeFileSync(target, String(Number.isNaN(known) ? process.resourceUsage().maxRSS * 1024 : known));
  });
}
