/**
 * Loaded into a measured Node process by `--import`: at exit it reports its largest resident set through the pipe that
 * ACCEL_BENCH_RSS names by its descriptor. The kernel's high-water mark is of the program that runs, where `ru_maxrss`
 * may be that of the process which started it.
 */
import { writeSync } from 'node:fs';
import { isMainThread } from 'node:worker_threads';
import { highWater } from './counters.ts';

const target = process.env.ACCEL_BENCH_RSS;
if (target !== undefined && isMainThread) {
  process.on('exit', () => {
    const known = highWater('self');
    writeSync(Number(target), String(Number.isNaN(known) ? process.resourceUsage().maxRSS * 1024 : known));
  });
}
