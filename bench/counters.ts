/** Reads the kernel's counters from Linux's /proc. Elsewhere the figures are NaN, which the tables show as n/a. */
import { readFileSync } from 'node:fs';

/** Sums over the processes that this one started and that have ended, and over theirs. */
export interface EndedChildren {
  /** Seconds of processor time, user and system; the kernel shows hundredths. */
  readonly cpu: number;
  /** Bytes that they made the storage write (this process's own are in it too; it writes next to nothing). */
  readonly written: number;
}

/** Ticks a second of the times in /proc (USER_HZ): 100 on every architecture that Node runs on. */
const TICKS = 100;
/** Fields of /proc/self/stat behind the command's name (proc(5)): cutime and cstime. */
const [CUTIME, CSTIME] = [13, 14];

/** Reads the sums; the difference of two readings is what ran in between, because benchmarks run one thing at a time. */
export function endedChildren(): EndedChildren {
  const stat = readProc('/proc/self/stat');
  const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ');
  const ticks = fields === undefined ? Number.NaN : Number(fields[CUTIME]) + Number(fields[CSTIME]);
  return { cpu: ticks / TICKS, written: field(readProc('/proc/self/io'), 'write_bytes', 1) };
}

/** Largest resident set of a process so far in bytes; NaN when it has ended or is not known. */
export function highWater(pid: number | 'self'): number {
  return field(readProc(`/proc/${pid}/status`), 'VmHWM', 1024);
}

function field(text: string | undefined, name: string, unit: number): number {
  const digits = new RegExp(`^${name}:\\s*(\\d+)`, 'm').exec(text ?? '')?.[1];
  return digits === undefined ? Number.NaN : Number(digits) * unit;
}

function readProc(path: string): string | undefined {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return undefined; // Another system, a sandbox, or a process that has ended: there is no figure, and NaN says so.
  }
}
