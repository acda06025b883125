/**
 * Comments and string literals of a TypeScript file, for checks that read prose and not code. A small lexer: it knows
 * strings, templates, comments and regular expressions, and nothing of the grammar around them.
 */

/** A comment or a literal. */
export interface SourceText {
  readonly kind: 'comment' | 'string';
  /** Without delimiters; a comment without its leading stars; a template with `…` for each value. */
  readonly text: string;
  /** The line of the file on which its text begins, from 1. */
  readonly line: number;
}

/** Tokens after which a slash begins a regular expression and not a division. */
const BEFORE_REGEX = /(?:^|[(,=:[!&|?{};+\-*%~^<>]|\b(?:return|typeof|case|in|of|do|else|yield|await|void|delete))\s*$/;
/** Characters of code before a slash that decide that. */
const LOOK_BACK = 40;

/** Lists the comments and literals of `source` in order. */
export function sourceTexts(source: string): SourceText[] {
  const found: SourceText[] = [];
  let at = 0;
  let line = 1;
  /** Code since the last literal, for the question of what a slash means. */
  let code = '';
  /** For each open template, how many braces are open within its current value. */
  const templates: { depth: number; text: string; readonly line: number }[] = [];

  const advance = (text: string): void => {
    at += text.length;
    line += text.split('\n').length - 1;
  };
  const take = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at;
    const text = pattern.exec(source)?.[0];
    return text === undefined || text === '' ? undefined : text;
  };
  const addString = (text: string, raw: string): void => {
    found.push({ kind: 'string', text, line });
    advance(raw);
    code = "''";
  };
  /** Reads the text of the innermost template up to its end or its next value. */
  const readTemplate = (): void => {
    const template = templates.at(-1)!;
    const text = take(/(?:\\[\s\S]|\$(?!\{)|[^`\\$])*/y) ?? '';
    template.text += text;
    advance(text);
    if (source.startsWith('${', at)) {
      template.text += '…';
      template.depth = 1;
      at += 2;
      code = '(';
    } else {
      at++;
      templates.pop();
      found.push({ kind: 'string', text: plainLiteral(template.text), line: template.line });
      code = "''";
    }
  };

  while (at < source.length) {
    const lineComment = take(/\/\/[^\n]*/y);
    const blockComment = lineComment ?? take(/\/\*[\s\S]*?\*\//y);
    if (blockComment !== undefined) {
      const text = plainComment(blockComment);
      const skipped = /^\s*/.exec(text)![0].split('\n').length - 1;
      found.push({ kind: 'comment', text: text.trim(), line: line + skipped });
      advance(blockComment);
      continue;
    }
    const string = take(/'(?:\\[\s\S]|[^'\\\n])*'|"(?:\\[\s\S]|[^"\\\n])*"/y);
    if (string !== undefined) {
      addString(plainLiteral(string.slice(1, -1)), string);
      continue;
    }
    if (source[at] === '`') {
      templates.push({ depth: 0, text: '', line });
      at++;
      readTemplate();
      continue;
    }
    const regex = source[at] === '/' && BEFORE_REGEX.test(code) ? take(REGEX) : undefined;
    if (regex !== undefined) {
      advance(regex);
      code = "''";
      continue;
    }
    const char = source[at]!;
    advance(char);
    code = (code + char).slice(-LOOK_BACK);
    const template = templates.at(-1);
    if (template === undefined) continue;
    if (char === '{') template.depth++;
    else if (char === '}' && --template.depth === 0) readTemplate();
  }
  return found;
}

const REGEX = /\/(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n[])+\/[a-z]*/y;

/** A comment as running text: without delimiters, stars and line breaks within a paragraph. */
function plainComment(raw: string): string {
  if (raw.startsWith('//')) return raw.slice(2).trim();
  return raw
    .slice(2, -2)
    .split('\n')
    .map((text) => text.replace(/^\s*\* ?/, '').trim())
    .join('\n')
    .replace(/^\*/, '');
}

/** Escapes that matter to a reader of prose: line breaks and quotes. */
function plainLiteral(text: string): string {
  return text.replace(/\\n/g, '\n').replace(/\\(['"`])/g, '$1');
}
