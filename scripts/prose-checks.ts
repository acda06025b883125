/** Prose that this project avoids, found in a file: pure functions from text to complaints. */
import { CLAUSE_HABIT, PROSE_HABITS, type ProseHabit } from './prose-habits.ts';
import { isGenerated, type SourceFile } from './source-files.ts';
import { sourceTexts } from './source-text.ts';

/** Characters of the text that a complaint quotes. */
const QUOTED = 60;

/** A piece of prose and the line on which it begins. */
interface Passage {
  readonly text: string;
  readonly line: number;
  /** A heading need not be a sentence. */
  readonly isHeading?: boolean;
}

/** The habits in a source or a page, as `path:line "quotation": advice`. Generated files have none. */
export function proseComplaints({ path, text }: SourceFile): string[] {
  if (isGenerated(text)) return [];
  const passages = path.endsWith('.md') ? pagePassages(text) : sourcePassages(text);
  return passages.flatMap((passage) =>
    (passage.isHeading === true ? PROSE_HABITS : [...PROSE_HABITS, CLAUSE_HABIT]).flatMap((habit) =>
      matches(passage, habit).map((found) => `${path}:${found}`),
    ),
  );
}

/** Comments and literals with more than one word: a single word is a name and no prose. */
function sourcePassages(text: string): Passage[] {
  return sourceTexts(text)
    .filter(({ kind, text: part }) => kind === 'comment' || /\w\s+\w/.test(part))
    .filter(({ text: part }) => !/^biome-ignore\b/.test(part));
}

/** The paragraphs of a Markdown page without its code, quotations and link targets. */
function pagePassages(text: string): Passage[] {
  const passages: Passage[] = [];
  let isCode = false;
  text.split('\n').forEach((raw, index) => {
    if (/^\s*(```|~~~)/.test(raw)) isCode = !isCode;
    else if (!isCode && !raw.startsWith('>')) {
      // Each cell of a table is a text of its own, as each item of a list is.
      const cells = raw.startsWith('|') ? raw.split('|') : [raw.replace(/^\s*(?:[-*]|\d+\.|#+) +/, '')];
      for (const cell of cells)
        passages.push({
          text: cell.replace(/\]\([^)]*\)/g, ']').trim(),
          line: index + 1,
          isHeading: raw.startsWith('#'),
        });
    }
  });
  return passages;
}

function matches({ text, line }: Passage, { pattern, instead, reason }: ProseHabit): string[] {
  return [...withoutQuotations(text).matchAll(pattern)].map((match) => {
    const at = match.index + match[0].length - (match[1] ?? match[0]).trimStart().length;
    const row = line + text.slice(0, at).split('\n').length - 1;
    const length = (match[1] ?? match[0]).trim().length;
    const quoted = text.slice(at, at + Math.min(length, QUOTED));
    return `${row} "${quoted}": ${reason}; write ${instead}`;
  });
}

/** Blanks out what is quoted, in quotation marks or backticks, and keeps every character's place. */
function withoutQuotations(text: string): string {
  return text.replace(/"[^"\n]{0,400}"|`[^`\n]{0,400}`|“[^”\n]{0,400}”/g, (quoted) => ' '.repeat(quoted.length));
}

/** Reads the list of exemptions: one path prefix a line, `#` begins a comment. */
export function readExemptions(text: string): string[] {
  return text
    .split('\n')
    .map((line) => line.replace(/#.*/, '').trim())
    .filter((line) => line !== '');
}
