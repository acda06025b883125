/**
 * The part of a TOML file that setup adds, between two comments, so that it can be taken out again whatever happened to the
 * rest. A line that it replaces stays inside as a comment.
 */
import { AccelError } from '../../../base/error.ts';

const BEGIN_MARK = '# accel-agent begin';
const BEGIN = `${BEGIN_MARK}: added by "accel agent setup", taken out by "accel agent cleanup"`;
const END = '# accel-agent end';
const REPLACED = '#replaced:';

/** Wraps lines that are added, and those that they replace. Ends with a newline. */
export function ownBlock(lines: readonly string[], replaced: readonly string[] = []): string {
  const [first = ''] = lines;
  const indent = /^\s*/.exec(first)![0];
  const kept = replaced.map((line) => `${indent}${REPLACED}${line}`);
  return `${[`${indent}${BEGIN}`, ...kept, ...lines, `${indent}${END}`].join('\n')}\n`;
}

/** Whether a text has a block, whole or not. */
export function hasOwnBlock(text: string): boolean {
  return text.split('\n').some((line) => line.trim().startsWith(BEGIN_MARK));
}

/** The blocks of a text, joined. Fails as {@link withoutOwnBlocks} does. */
export function ownBlocksIn(text: string, file: string): string {
  return split(text, file).own.join('');
}

/**
 * Takes all blocks out of a text, and puts back what they replaced. Fails with `io-error` where a block has no end: then
 * nothing shows where ours ends.
 */
export function withoutOwnBlocks(text: string, file: string): string {
  return split(text, file).rest.join('');
}

function split(text: string, file: string): { readonly own: readonly string[]; readonly rest: readonly string[] } {
  const own: string[] = [];
  const rest: string[] = [];
  let inside = false;
  for (const line of text.split(/(?<=\n)/)) {
    const trimmed = line.trim();
    if (trimmed.startsWith(BEGIN_MARK)) {
      if (inside) throw open(file);
      inside = true;
    } else if (!inside) rest.push(line);
    else if (trimmed === END) inside = false;
    else if (trimmed.startsWith(REPLACED)) rest.push(line.slice(line.indexOf(REPLACED) + REPLACED.length));
    else own.push(line);
  }
  if (inside) throw open(file);
  return { own, rest };
}

function open(file: string): AccelError {
  return new AccelError('io-error', 'a block that setup added has no end', {
    where: { file },
    expected: `a line "${END}" after each "${BEGIN_MARK}"`,
    hint: 'Take out by hand what setup added, with that line; the file is left as it is.',
  });
}
