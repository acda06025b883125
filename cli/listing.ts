/** Lines of `accel ls`. */
import type { FileStat } from '../reader/files.ts';
import { printable } from './text.ts';

const TYPE_LETTERS: Readonly<Record<FileStat['type'], string>> = {
  file: '-',
  directory: 'd',
  symlink: 'l',
  character: 'c',
  block: 'b',
  fifo: 'p',
  socket: 's',
};

/** `drwxr-sr-t`, as ls prints it. */
export function formatMode({ type, mode }: Pick<FileStat, 'type' | 'mode'>): string {
  const triple = (shift: number, special: boolean, letter: string): string => {
    const bits = (mode >> shift) & 7;
    const run = (bits & 1) !== 0;
    const last = special ? (run ? letter : letter.toUpperCase()) : run ? 'x' : '-';
    return `${bits & 4 ? 'r' : '-'}${bits & 2 ? 'w' : '-'}${last}`;
  };
  const setuid = (mode & 0o4000) !== 0;
  const setgid = (mode & 0o2000) !== 0;
  const sticky = (mode & 0o1000) !== 0;
  return `${TYPE_LETTERS[type]}${triple(6, setuid, 's')}${triple(3, setgid, 's')}${triple(0, sticky, 't')}`;
}

/** `2023-11-14T22:13:20Z`, with the fraction that there is. */
export function formatTime({ seconds, nanoseconds }: FileStat['mtime']): string {
  const whole = new Date(seconds * 1000);
  // ext4's times end in 2446, well inside of what a Date holds; a damaged inode's might not.
  const text = Number.isNaN(whole.getTime()) ? `${seconds} s` : whole.toISOString().slice(0, -5);
  const fraction = nanoseconds === 0 ? '' : `.${String(nanoseconds).padStart(9, '0').replace(/0+$/, '')}`;
  return `${text}${fraction}Z`;
}

/** The columns of `ls -l` before the name: mode, links, owner, group, size or device numbers, time. */
export function longColumns(stat: FileStat): string[] {
  const isDevice = stat.type === 'character' || stat.type === 'block';
  return [
    formatMode(stat),
    String(stat.links),
    String(stat.uid),
    String(stat.gid),
    isDevice ? `${stat.deviceMajor},${stat.deviceMinor}` : String(stat.size),
    formatTime(stat.mtime),
  ];
}

/** Rows with their columns aligned: the first and the last to the left, numbers to the right. */
export function alignRows(rows: readonly (readonly string[])[]): string[] {
  const widths: number[] = [];
  for (const row of rows) for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, cell.length);
  return rows.map((row) =>
    row
      .map((cell, i) => (i === 0 || i === row.length - 1 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)))
      .join(' '),
  );
}

/**
 * A name of the image, harmless on a terminal and in the log of a CI system, which reads lines as commands; or `exact`,
 * the bytes that it is.
 */
export function nameBytes(name: string, exact: boolean): Uint8Array {
  return exact ? Buffer.from(name, 'latin1') : Buffer.from(printable(name, 'bytes'));
}
