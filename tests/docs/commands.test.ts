/** Every command of the documentation, run unchanged. */
import { readdir } from 'node:fs/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { describeWith } from '../support/tools.ts';
import { type Block, blocksOf, pages } from './blocks.ts';
import { type Exception, NOT_RUN, TAKEN_OUT } from './not-run.ts';
import { type Surroundings, setUp } from './surroundings.ts';

const shell = pages()
  .flatMap(blocksOf)
  .filter(({ language }) => language === 'sh');
/** The steps that the other pages take as done: the README's installation, and its conversions in the registry and in the layout. */
const INSTALLED = `
command -v accel >/dev/null || npm install -g accel-image
accel convert -r registry.example.com/team/app -i 1.2 -q
`;
const CONVERTED = 'accel convert -r oci:./layout -i latest -q';
const used = new Set<Exception>();

/** The commands of a block that are run; empty when none is. */
function runnable({ lines }: Block): string {
  return lines
    .filter((line) => !matches(NOT_RUN, line))
    .map((line) => {
      const part = matches(TAKEN_OUT, line);
      return part === undefined ? line : line.replace(part.line, '');
    })
    .join('\n')
    .trim();
}

function matches(list: readonly Exception[], line: string): Exception | undefined {
  const found = list.find((exception) => exception.line.test(line));
  if (found !== undefined) used.add(found);
  return found;
}

function isOnlyComments(text: string): boolean {
  return text.split('\n').every((line) => /^\s*(#|$)/.test(line));
}

const scripts = shell.map((block) => ({ ...block, text: runnable(block) })).filter(({ text }) => !isOnlyComments(text));
const readme = scripts.filter(({ page }) => page === 'README.md');
const others = scripts.filter(({ page }) => page !== 'README.md');

describeWith({ tools: ['docker-registry', 'skopeo', 'openssl', 'bash'] }, 'the commands of the documentation', () => {
  let surroundings: Surroundings;
  const folders = new Map<string, string>();
  let installed: Promise<unknown> | undefined;

  beforeAll(async () => {
    surroundings = await setUp();
  });
  afterAll(() => surroundings?.stop());

  // One folder for a page: what one block makes, the next one may use.
  async function folderOf(page: string): Promise<string> {
    const folder = folders.get(page) ?? (await surroundings.folder(page));
    folders.set(page, folder);
    return folder;
  }

  it.each(readme)(
    '$where',
    async ({ page, text }) => {
      const { stderr } = await surroundings.script(text, await folderOf(page));
      expect(stderr).not.toContain('warning');
    },
    120_000,
  );

  it('the quick start pushed what the README says', async () => {
    const { stdout } = await surroundings.script(
      'skopeo list-tags docker://registry.example.com/team/app',
      await folderOf('README.md'),
    );
    expect(JSON.parse(stdout.toString('utf8')).Tags).toEqual(
      expect.arrayContaining(['1.2', '1.2_accelerated', '1.2_containerd_accelerated']),
    );
    expect(await readdir(await folderOf('README.md'))).toContain('layout');
  });

  it.each(others)(
    '$where',
    async ({ page, text }) => {
      const isFirst = !folders.has(page);
      const folder = await folderOf(page);
      installed ??= surroundings.script(INSTALLED, folder);
      await installed;
      if (isFirst && others.some((other) => other.page === page && other.text.includes('oci:./layout:'))) {
        await surroundings.script(CONVERTED, folder);
      }
      await surroundings.script(text, folder);
    },
    120_000,
  );
});

it('every exception is still needed', () => {
  expect([...NOT_RUN, ...TAKEN_OUT].filter((exception) => !used.has(exception)).map(({ line }) => line)).toEqual([]);
});

it('commands stand in blocks that are run', () => {
  const hidden = pages()
    .filter((page) => page !== 'docs/cli.md')
    .flatMap(blocksOf)
    .filter(({ language, lines }) => language === '' && lines.some((line) => /^(\$ )?(npx |accel )/.test(line)));
  expect(hidden.map(({ where }) => where)).toEqual([]);
});
