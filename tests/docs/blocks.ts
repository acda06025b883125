/** The fenced code blocks of the project's pages: what a reader may paste. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '..', '..');

/** A fenced block. */
export interface Block {
  /** Page from the project's root, and the line of the fence: `docs/mount.md:17`. */
  readonly where: string;
  readonly page: string;
  /** The word after the fence: `sh`, `ts`, or nothing for output. */
  readonly language: string;
  readonly lines: readonly string[];
}

/** The pages for users and contributors, README first. */
export function pages(): string[] {
  const below = (folder: string) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.md'))
      .sort()
      .map((name) => `${folder}/${name}`);
  return ['README.md', 'CONTRIBUTING.md', 'SECURITY.md', ...below('docs')];
}

/** Every block of a page in order. */
export function blocksOf(page: string): Block[] {
  const found: Block[] = [];
  let open: { language: string; line: number; lines: string[]; indent: string } | undefined;
  readFileSync(join(ROOT, page), 'utf8')
    .split('\n')
    .forEach((line, index) => {
      const fence = /^( *)```(\S*)/.exec(line);
      if (fence === null) open?.lines.push(line.startsWith(open.indent) ? line.slice(open.indent.length) : line);
      else if (open === undefined) open = { language: fence[2]!, line: index + 1, lines: [], indent: fence[1]! };
      else {
        found.push({ where: `${page}:${open.line}`, page, language: open.language, lines: open.lines });
        open = undefined;
      }
    });
  if (open !== undefined) throw new Error(`${page}: the block of line ${open.line} has no end`);
  return found;
}
