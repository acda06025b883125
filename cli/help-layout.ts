/** Layout of the help: columns side by side on a wide terminal, one below the other on a narrow one. */
import type { Help, HelpConfiguration } from 'commander';

/** Below this width a flag and its description do not fit beside each other. */
const NARROW = 72;
/** Indentation of an item, and of the description below it. */
const ITEM_INDENT = '  ';
const BELOW_INDENT = '      ';
const USAGE_INDENT = '  ';

/** Overrides of commander's help. */
export function helpLayout(): HelpConfiguration {
  return {
    minWidthToWrap: 20,
    formatItem(term: string, termWidth: number, description: string, helper: Help): string {
      const width = helper.helpWidth ?? NARROW;
      if (width < NARROW) return [`${ITEM_INDENT}${term}`, ...wrapWords(description, width, BELOW_INDENT)].join('\n');
      if (description === '') return ITEM_INDENT + term;
      const column = ITEM_INDENT.length + termWidth + 2;
      const wrapped = helper.boxWrap(description, width - column).replace(/\n/g, `\n${' '.repeat(column)}`);
      return ITEM_INDENT + term.padEnd(termWidth + 2) + wrapped;
    },
  };
}

/**
 * The parts of a help text that commander does not wrap, within `columns`: the usage line, and the examples after it,
 * where sentences are wrapped and a command goes on after a backslash, so that it can still be pasted. Any other text,
 * and any text without a known width, stays as it is.
 */
export function fitHelp(text: string, columns: number | undefined): string {
  if (!columns) return text;
  if (text.startsWith('Usage: ')) return text.replace(/^.*/, (line) => wrapUsage(line, columns));
  if (!text.startsWith('\nExamples:')) return text;
  return text
    .split('\n')
    .flatMap((line) => (line.length <= columns ? [line] : wrapLine(line, columns)))
    .join('\n');
}

function wrapLine(line: string, columns: number): string[] {
  const indent = /^ */.exec(line)![0];
  const isCommand = line.startsWith('$ ', indent.length);
  // A backslash after a space goes on with the next line; within quotation marks it would not.
  const words = isCommand ? line.slice(indent.length).match(/(?:'[^']*'|"[^"]*"|[^ '"])+/g)! : line.trim().split(' ');
  const tail = isCommand ? ' \\' : '';
  // A long reference begins further to the left where a terminal would break it otherwise.
  const room = columns - tail.length - Math.max(...words.map((word) => word.length));
  const usual = isCommand ? `${indent}    ` : indent;
  const next = room < 0 ? usual : usual.slice(0, room);
  const lines = [indent + words[0]];
  for (const word of words.slice(1)) {
    const longer = `${lines.at(-1)} ${word}`;
    // The prompt alone on a line would be an odd sight.
    if (longer.length + tail.length <= columns || lines.at(-1) === `${indent}$`) lines[lines.length - 1] = longer;
    else {
      lines[lines.length - 1] += tail;
      lines.push(next + word);
    }
  }
  return lines;
}

function wrapUsage(line: string, columns: number): string {
  return line.length <= columns ? line : wrapWords(line, columns, USAGE_INDENT).join('\n').trimStart();
}

/** Words in lines of at most `width`, each line after an indentation. */
function wrapWords(text: string, width: number, indent: string): string[] {
  if (text === '') return [];
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && indent.length + line.length + 1 + word.length > width) {
      lines.push(indent + line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, indent + line];
}
