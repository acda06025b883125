/** The machine, because a figure without one says nothing. */
import { readFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg, release, totalmem, type } from 'node:os';

/** One line: processor, cores, whether it has instructions for SHA-256, memory, system, Node, and how busy it is now. */
export function machine(): string {
  return [
    cpus()[0]?.model.trim() ?? 'unknown processor',
    `${availableParallelism()} cores`,
    shaInstructions(readCpuInfo()),
    `${Math.round(totalmem() / 2 ** 30)} GiB`,
    `${type()} ${release()}`,
    `Node ${process.version}`,
    `load ${loadavg()[0]!.toFixed(1)} at the start`,
  ].join(', ');
}

/** Names the SHA-256 instructions that /proc/cpuinfo lists: x86 calls them sha_ni, Arm sha2. */
export function shaInstructions(cpuInfo: string | undefined): string {
  const flags = /^(?:flags|Features)\s*:(.*)$/m.exec(cpuInfo ?? '')?.[1]?.split(/\s+/);
  if (flags === undefined) return 'SHA instructions unknown';
  if (flags.includes('sha_ni')) return 'with SHA-NI';
  return flags.includes('sha2') ? 'with SHA2 instructions' : 'without SHA instructions';
}

function readCpuInfo(): string | undefined {
  try {
    return readFileSync('/proc/cpuinfo', 'latin1');
  } catch {
    return undefined; // Not Linux: the line says that it is not known.
  }
}
