/**
 * The mark of a process in the name of a temporary file or folder, by which a later process distinguishes leftovers
 * from files in use, including those of processes in other containers and on other machines that share the folder.
 */
import { createHash } from 'node:crypto';
import { readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';

/** Source of a regular expression that matches a mark. */
export const MARK_PATTERN = '[0-9a-f]{8}-[0-9a-f]{8}-\\d{1,20}-\\d{1,10}-\\d{1,20}';

/**
 * The state of the process of a mark: running, certainly gone, or unknown because it belongs to another machine,
 * another container or an earlier boot.
 */
export type MarkState = 'alive' | 'gone' | 'elsewhere';

/** Identifies a process, as text; `0` if the system does not provide a value. */
export interface ProcessIdentity {
  /** Hash of the machine's name and id, 8 hex digits. */
  readonly host: string;
  /** Of the boot, 8 hex digits. */
  readonly boot: string;
  /** Number of the namespace in which process numbers count (Linux, pid_namespaces(7)). */
  readonly namespace: string;
  readonly pid: number;
  /** Start time of the process in clock ticks since boot, which distinguishes processes that reuse a number. */
  readonly start: string;
}

const UNKNOWN = '00000000';
let own: ProcessIdentity | undefined;

/** The identity of this process. */
export function ownIdentity(): ProcessIdentity {
  own ??= {
    host: createHash('sha256')
      .update(`${hostname()}\n${readText('/etc/machine-id')}`)
      .digest('hex')
      .slice(0, 8),
    boot: /^[0-9a-f]{8}/.exec(readText('/proc/sys/kernel/random/boot_id'))?.[0] ?? UNKNOWN,
    namespace: namespaceOf(),
    pid: process.pid,
    start: startOf(process.pid),
  };
  return own;
}

/** A process as the text that goes into a name; this one unless given. */
export function processMark({ host, boot, namespace, pid, start }: ProcessIdentity = ownIdentity()): string {
  return `${host}-${boot}-${namespace}-${pid}-${start}`;
}

/** The state of the process that left `mark`, as seen from `self`. */
export function stateOfMark(mark: string, self: ProcessIdentity = ownIdentity()): MarkState {
  const [host, boot, namespace, pid, start] = mark.split('-');
  if (host !== self.host || boot !== self.boot || namespace !== self.namespace) return 'elsewhere';
  if (!isRunning(Number(pid))) return 'gone';
  const now = startOf(Number(pid));
  // If the start time is unknown, a running process counts as the one that left the mark.
  return start === '0' || now === '0' || now === start ? 'alive' : 'gone';
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // A process of another user may not be signalled, but it runs.
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

function startOf(pid: number): string {
  // The second field is the program's name in brackets and may hold anything; the 22nd is the time.
  const fields = readText(`/proc/${pid}/stat`).replace(/^.*\)/s, '').trim().split(' ');
  return /^\d{1,20}$/.test(fields[19] ?? '') ? fields[19]! : '0';
}

function namespaceOf(): string {
  try {
    return /\[(\d{1,20})\]/.exec(readlinkSync('/proc/self/ns/pid'))?.[1] ?? '0';
  } catch (error) {
    if (isMissing(error)) return '0';
    throw error;
  }
}

/** The text of a system file; empty if it does not exist, as on any system but Linux. */
function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch (error) {
    if (isMissing(error)) return '';
    throw error;
  }
}

function isMissing(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'ENOENT' || code === 'ESRCH' || code === 'EACCES' || code === 'EPERM' || code === 'ENOTDIR';
}
