/**
 * The part of a TOML file that setup adds, between two comments, so that it can be taken out again whatever happened to the
 * rest. A line that it replaces stays inside as a comment.
 */

const BEGIN = '# accel-agent begin: added by "accel agent setup", taken out by "accel agent cleanup"';
const END = '# accel-agent end';
const REPLACED = '#replaced:';

/** Wraps lines that are added, and those that they replace. Ends with a newline. */
export function ownBlock(lines: readonly string[], replaced: readonly string[] = []): string {
  const [first = ''] = lines;
  const indent = /^\s*/.exec(first)![0];
  const kept = replaced.map((line) => `${indent}${REPLACED}${line}`);
  return `${[`${indent}${BEGIN}`, ...kept, ...lines, `${indent}${END}`].join('\n')}\n`;
}

/** Takes all blocks out of a text, and puts back what they replaced. */
export function withoutOwnBlocks(text: string): string {
  const result: string[] = [];
  let inside = false;
  for (const line of text.split(/(?<=\n)/)) {
    const trimmed = line.trim();
    if (!inside && trimmed.startsWith('# accel-agent begin')) {
      inside = true;
      continue;
    }
    if (!inside) {
      result.push(line);
      continue;
    }
    if (trimmed === END) inside = false;
    else if (trimmed.startsWith(REPLACED)) result.push(line.slice(line.indexOf(REPLACED) + REPLACED.length));
  }
  return result.join('');
}
