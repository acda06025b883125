/** Examples of the pages that no command runs: YAML that has to parse, and the list of environment variables. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { isTest, listFiles, PRODUCT_ROOMS } from '../../scripts/source-files.ts';
import { blocksOf, pages } from './blocks.ts';

const ROOT = join(import.meta.dirname, '..', '..');

/** Errors and warnings of a YAML text, duplicate keys among them. */
function yamlProblems(text: string): string[] {
  return parseAllDocuments(text, { strict: true, uniqueKeys: true }).flatMap(({ errors, warnings }) =>
    [...errors, ...warnings].map(({ message }) => message),
  );
}

describe('YAML of the pages', () => {
  const blocks = pages()
    .flatMap(blocksOf)
    .filter(({ language }) => language === 'yaml');

  it('there are examples', () => expect(blocks.length).toBeGreaterThan(10));

  it.each(blocks)('$where parses', ({ lines }) => {
    expect(yamlProblems(lines.join('\n'))).toEqual([]);
    // A tab is no indentation, and trailing spaces hide in a block scalar.
    expect(lines.filter((line) => /\t| $/.test(line))).toEqual([]);
  });

  it.each(['a: 1\na: 2', 'a: [1', 'a: "b', '- a\nb: c'])('%j is refused', (text) =>
    expect(yamlProblems(text)).not.toEqual([]),
  );

  it('objects of Kubernetes and Tekton have a kind, a version and a name', () => {
    const objects = blocks
      .flatMap(({ where, lines }) => parseAllDocuments(lines.join('\n')).map((one) => ({ where, value: one.toJS() })))
      .filter(({ value }) => value?.apiVersion !== undefined);
    expect(objects.length).toBeGreaterThan(3);
    expect(objects.filter(({ value }) => !value.kind || !value.metadata?.name).map(({ where }) => where)).toEqual([]);
  });
});

describe('docs/environment.md', () => {
  const page = readFileSync(join(ROOT, 'docs/environment.md'), 'utf8');
  const sources = listFiles(ROOT, PRODUCT_ROOMS, ['.ts']).filter(
    ({ path }) => !isTest(path) && !/\/(testing|lab|simulator|demo)\//.test(path),
  );
  const NAME = '([A-Z][A-Z_0-9]+|https?_proxy|no_proxy)';
  const read = new Set(
    sources.flatMap(({ text }) => [
      ...[...text.matchAll(new RegExp(`\\benv(?:\\.|\\[['"])${NAME}\\b`, 'g'))].map(([, name]) => name!),
      // const { NAME: local } = env
      ...[...text.matchAll(/\{([^{}]*)\} = (?:process\.)?env(?:ironment)?;/g)].flatMap(([, names]) =>
        [...names!.matchAll(/\b([A-Z][A-Z_0-9]+)\b(?=:|,|\s|$)/g)].map(([, name]) => name!),
      ),
    ]),
  );

  it('finds the variables in the sources', () => expect(read.size).toBeGreaterThan(15));

  it.each([...read].sort())('names %s', (name) => expect(page).toContain(`\`${name}\``));

  it('names no variable that the sources do not read', () => {
    const texts = sources.map(({ text }) => text).join('\n');
    // Generated from the flags, which read them.
    const own = page.replace(/<!-- flags: [\s\S]*?<!-- end -->/, '');
    const named = [...own.matchAll(/^\| (.*?) \|/gm)].flatMap(([, cell]) =>
      [...cell!.matchAll(/`([A-Za-z_]+)`/g)].map(([, name]) => name!),
    );
    expect(named.length).toBeGreaterThan(20);
    expect(named.filter((name) => !texts.includes(name))).toEqual([]);
  });
});
