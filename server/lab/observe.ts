/** Samples from /proc what a run of the lab costs and how well it uses the registry's link, while the pulls go on. */
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Machine } from './network.ts';
import type { Processes } from './processes.ts';

/** Milliseconds between two looks at the registry's link. */
const EVERY = 100;
/** Clock ticks of the kernel in a second, as /proc counts processor time on Linux. */
const TICKS = 100;

/** Processes of one kind, by their id. */
export type Classes = Readonly<Record<string, readonly number[]>>;

/** Observations of a run. */
export interface Observed {
  /** Megabytes that the registry's link carried in each tenth of a second. */
  readonly uplink: readonly number[];
  /**
   * Processor seconds of each class of processes, of this process (`lab`), of the clients that have ended (`clients`), and of
   * the whole machine (`all`): what is left of that had nothing to do with the run, or is the kernel's.
   */
  readonly cpuSeconds: Readonly<Record<string, number>>;
  /** Largest resident memory of a process of each class, in MB. */
  readonly residentMB: Readonly<Record<string, number>>;
}

/** Starts to observe; the result is asked for at the end. `registry` is a process in the registry's network. */
export async function observe(registry: number, classes: Classes): Promise<() => Promise<Observed>> {
  const before = await usage(classes);
  const uplink: number[] = [];
  let done = false;
  const sampled = (async () => {
    let last = await bytesSentBy(registry);
    const started = performance.now();
    for (let sample = 1; !done; sample++) {
      await sleep(Math.max(0, started + sample * EVERY - performance.now()));
      const now = await bytesSentBy(registry);
      uplink.push(Number(((now - last) / 1e6).toFixed(3)));
      last = now;
    }
  })();
  return async () => {
    done = true;
    await sampled;
    const after = await usage(classes);
    const residentMB = Object.fromEntries(
      await Promise.all(
        Object.entries(classes).map(async ([name, ids]) => [
          name,
          Math.max(0, ...(await Promise.all(ids.map(residentPeak)))),
        ]),
      ),
    ) as Record<string, number>;
    const cpuSeconds = Object.fromEntries(
      Object.entries(after).map(([name, ticks]) => [name, (ticks - before[name]!) / TICKS]),
    );
    return { uplink, cpuSeconds, residentMB };
  };
}

/** Adds up the agents' metrics, which show why pieces went which way: name with labels, and value. */
export async function sumMetrics(
  processes: Processes,
  machines: readonly Machine[],
  log: string,
): Promise<Record<string, number>> {
  const sums: Record<string, number> = {};
  for (const machine of machines) {
    const output = await processes.output(machine, ['curl', '-sf', '-m', '2', 'http://127.0.0.1:65003/metrics'], {
      log,
    });
    for (const line of output.split('\n')) {
      const [, name, value] = /^(accel_agent_\S+) (\S+)$/.exec(line) ?? [];
      if (name === undefined || name.includes('_bucket') || Number(value) === 0) continue;
      sums[name] = (sums[name] ?? 0) + Number(value);
    }
  }
  return sums;
}

async function usage(classes: Classes): Promise<Record<string, number>> {
  const sums: Record<string, number> = {};
  for (const [name, ids] of Object.entries(classes))
    sums[name] = (await Promise.all(ids.map(ticksOf))).reduce((sum, ticks) => sum + ticks, 0);
  const [, user = 0, nice = 0, system = 0, , , irq = 0, softIrq = 0] = (await readFile('/proc/stat', 'utf8'))
    .split('\n')[0]!
    .split(/\s+/)
    .map(Number);
  sums.lab = await ticksOf(process.pid);
  sums.clients = await ticksOfChildren();
  sums.all = user + nice + system + irq + softIrq;
  return sums;
}

/** Ticks of a process; 0 when it has gone. */
async function ticksOf(id: number): Promise<number> {
  const text = await readFile(`/proc/${id}/stat`, 'utf8').catch(() => '');
  // The name, in parentheses, may contain spaces.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return Number(fields[11] ?? 0) + Number(fields[12] ?? 0);
}

/** Ticks of the lab's own children that have ended: the clients that pull. */
async function ticksOfChildren(): Promise<number> {
  const text = await readFile('/proc/self/stat', 'utf8');
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return Number(fields[13] ?? 0) + Number(fields[14] ?? 0);
}

async function residentPeak(id: number): Promise<number> {
  const text = await readFile(`/proc/${id}/status`, 'utf8').catch(() => '');
  return Math.round((Number(/^VmHWM:\s+(\d+)/m.exec(text)?.[1] ?? 0) * 1024) / 1e6);
}

/** Bytes that the network of a process has sent by eth0. */
async function bytesSentBy(id: number): Promise<number> {
  const text = await readFile(`/proc/${id}/net/dev`, 'utf8').catch(() => '');
  const fields = /^\s*eth0:(.*)$/m.exec(text)?.[1]?.trim().split(/\s+/) ?? [];
  return Number(fields[8] ?? 0);
}
