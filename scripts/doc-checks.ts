/** Checks of the documentation, as pure functions from text to complaints. */
import { posix } from 'node:path';
import { isGenerated, isTest, type SourceFile } from './source-files.ts';

/** Lines above which a file has more than one reason to change (house rule: 60 to 250, look hard above 400). */
export const MAX_LINES = 400;

const DECLARATION =
  /^export (?:default )?(?:declare )?(?:abstract )?(?:async )?(?:const enum|function\*?|class|const|let|interface|type|enum|namespace) +([\w$]+)/;

/** Exported symbols without a doc comment right above them, as `path:line name`. Re-exports are documented where they come from. */
export function undocumentedExports({ path, text }: SourceFile): string[] {
  const lines = text.split('\n');
  const complaints: string[] = [];
  const documented = new Set<string>();
  lines.forEach((line, index) => {
    const name = DECLARATION.exec(line)?.[1];
    // The first of a function's overloads speaks for all of them.
    if (name === undefined || documented.has(name)) return;
    if (hasDocComment(lines, index)) documented.add(name);
    else complaints.push(`${path}:${index + 1} ${name} has no doc comment`);
  });
  for (const name of localExportList(text)) {
    if (documented.has(name)) continue;
    const at = lines.findIndex((line) =>
      new RegExp(`^(?:async )?(?:function|class|const|let|interface|type) +${name}\\b`).test(line),
    );
    // A symbol that is not declared here was imported, and is documented in its own file.
    if (at >= 0 && !hasDocComment(lines, at)) complaints.push(`${path}:${at + 1} ${name} has no doc comment`);
  }
  return complaints;
}

/** A complaint for a product file that is too long. */
export function overlongFile({ path, text }: SourceFile): string[] {
  if (isTest(path) || isGenerated(text)) return [];
  const count = text.split('\n').length - 1;
  return count > MAX_LINES ? [`${path} has ${count} lines, more than ${MAX_LINES}: give it one reason to change`] : [];
}

/** Relative links and anchors of a Markdown file that lead nowhere. `others` returns the text of a file, if there is one. */
export function brokenLinks({ path, text }: SourceFile, others: (path: string) => string | undefined): string[] {
  const complaints: string[] = [];
  for (const match of withoutCode(text).matchAll(/\[[^\]]*\]\(([^)\s]+)\)/g)) {
    const link = match[1]!;
    if (/^[a-z][a-z0-9+.-]*:/i.test(link)) continue;
    const [target = '', anchor] = link.split('#');
    const file = target === '' ? path : posix.normalize(posix.join(posix.dirname(path), target));
    const content = others(file);
    if (content === undefined) complaints.push(`${path}: link to ${link}: there is no ${file}`);
    else if (anchor !== undefined && !anchorsOf(content).has(anchor)) {
      complaints.push(`${path}: link to ${link}: ${file} has no heading for #${anchor}`);
    }
  }
  return complaints;
}

/** Mentions of a page in docs, with or without `§N`, whose file or numbered section (`## N.`) does not exist. */
export function brokenCitations({ path, text }: SourceFile, others: (path: string) => string | undefined): string[] {
  const complaints: string[] = [];
  for (const match of text.matchAll(/\bdocs\/([\w/-]+\.md)(?:,? §(\d+))?/g)) {
    const file = `docs/${match[1]}`;
    const content = others(file);
    if (content === undefined) complaints.push(`${path}: cites ${file}, which does not exist`);
    else if (match[2] !== undefined && !new RegExp(`^## ${match[2]}\\.`, 'm').test(content)) {
      complaints.push(`${path}: cites ${file} §${match[2]}, which it does not have`);
    }
  }
  return complaints;
}

/** `npm run NAME` and `npm test` in a Markdown file that package.json has no script for. */
export function unknownScripts({ path, text }: SourceFile, scripts: Readonly<Record<string, string>>): string[] {
  const named = [...text.matchAll(/\bnpm (?:run ([\w:-]+)|(test)\b)/g)].map((match) => match[1] ?? match[2]!);
  return [...new Set(named)]
    .filter((name) => scripts[name] === undefined)
    .map((name) => `${path}: package.json has no script ${name}`);
}

function hasDocComment(lines: readonly string[], declaration: number): boolean {
  let line = declaration - 1;
  // A directive to the linter may separate the comment from what it describes.
  while (line >= 0 && /^\/\/ biome-ignore\b/.test(lines[line]!)) line--;
  if (line < 0 || !lines[line]!.trimEnd().endsWith('*/')) return false;
  const end = line;
  while (line >= 0 && !lines[line]!.startsWith('/*')) line--;
  if (line < 0 || !lines[line]!.startsWith('/**')) return false;
  // A file's own comment comes first in the file; it documents the symbol only if no other comment follows.
  const words = lines
    .slice(line, end + 1)
    .join(' ')
    .replace(/[/*\s]+/g, ' ')
    .trim();
  return words !== '';
}

/** Names of `export { a, b as c };` without `from`. */
function localExportList(text: string): string[] {
  return [...text.matchAll(/^export (?:type )?\{([^}]*)\}(?!\s*from)/gm)].flatMap((match) =>
    match[1]!.split(',').flatMap((part) => {
      const name = part
        .trim()
        .replace(/^type /, '')
        .split(/\s+as\s+/)[0]!;
      return name === '' ? [] : [name];
    }),
  );
}

/** Anchors as GitHub makes them of headings. */
function anchorsOf(markdown: string): Set<string> {
  const anchors = new Set<string>();
  for (const match of withoutCode(markdown).matchAll(/^#{1,6} +(.+)$/gm)) {
    const base = match[1]!
      .trim()
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, '')
      .replace(/\s/g, '-');
    let anchor = base;
    for (let n = 1; anchors.has(anchor); n++) anchor = `${base}-${n}`;
    anchors.add(anchor);
  }
  return anchors;
}

function withoutCode(markdown: string): string {
  return markdown.replace(/^```[\s\S]*?^```/gm, '').replace(/`[^`\n]*`/g, (code) => code.replace(/[[\]()]/g, ''));
}
