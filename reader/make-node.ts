/** Device nodes and pipes on this machine; Node has no call for them. */

import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { advise, option } from '../base/advice.ts';
import { AccelError } from '../base/error.ts';
import type { FileStat } from './files.ts';

const TYPES: Partial<Record<FileStat['type'], string>> = { character: 'c', block: 'b', fifo: 'p' };

/** Makes a node of the type and numbers of `stat` at `path`, mode 0600. Throws `io-error`, with mknod's own words. */
export async function makeNode(path: Buffer, stat: FileStat): Promise<void> {
  const text = path.toString();
  if (!Buffer.from(text).equals(path))
    throw new AccelError('io-error', 'a node whose path is not UTF-8 cannot be made', { where: { path: text } });
  const numbers = stat.type === 'fifo' ? [] : [String(stat.deviceMajor), String(stat.deviceMinor)];
  try {
    await promisify(execFile)('mknod', ['-m', '600', '--', text, TYPES[stat.type] ?? 'p', ...numbers]);
  } catch (cause) {
    throw new AccelError('io-error', 'a device node or named pipe could not be made', {
      where: { path: text },
      found: cause instanceof Error ? cause.message : String(cause),
      hint: advise`Making them needs root and mknod; leave ${option('devices')} out to do without them.`,
      cause,
    });
  }
}
