/** The examples of docs/library.md: compiled against the installed package, with its types, and run. */
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { describeWith, run } from '../support/tools.ts';
import { blocksOf } from './blocks.ts';
import { type Surroundings, setUp } from './surroundings.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const examples = blocksOf('docs/library.md').filter(({ language }) => language === 'ts');
const nameOf = (index: number) => `example-${index + 1}`;

const SETTINGS = {
  compilerOptions: {
    target: 'es2023',
    module: 'nodenext',
    strict: true,
    exactOptionalPropertyTypes: true,
    noUncheckedIndexedAccess: true,
    types: ['node'],
    // The package's own types are looked at too.
    skipLibCheck: false,
    outDir: 'built',
  },
  include: ['*.ts'],
};

describeWith({ tools: ['docker-registry', 'skopeo', 'openssl', 'bash'] }, 'the examples of docs/library.md', () => {
  let surroundings: Surroundings;
  let folder: string;

  beforeAll(async () => {
    surroundings = await setUp();
    folder = await surroundings.folder('library');
    await writeFile(join(folder, 'package.json'), JSON.stringify({ type: 'module', private: true }));
    await surroundings.script('npm install accel-image', folder);
    await mkdir(join(folder, 'node_modules', '@types'), { recursive: true });
    await symlink(join(ROOT, 'node_modules/@types/node'), join(folder, 'node_modules/@types/node'));
    await symlink(join(ROOT, 'node_modules/undici-types'), join(folder, 'node_modules/undici-types'));
    await writeFile(join(folder, 'tsconfig.json'), JSON.stringify(SETTINGS));
    for (const [index, { lines }] of examples.entries())
      await writeFile(join(folder, `${nameOf(index)}.ts`), `${lines.join('\n')}\n`);
    await run(process.execPath, [join(ROOT, 'node_modules/typescript/bin/tsc'), '-p', folder], { cwd: folder });
  });
  afterAll(() => surroundings?.stop());

  it('there are examples', () => expect(examples.length).toBeGreaterThan(4));

  // In the order of the page: what the first ones convert, the others read.
  it.each(examples.map(({ where }, index) => ({ where, name: nameOf(index) })))('$where', async ({ name }) => {
    const { stdout } = await surroundings.script(`node built/${name}.js`, folder);
    if (!examples.some(({ lines }, index) => nameOf(index) === name && lines.join().includes('console.log'))) return;
    expect(stdout.length).toBeGreaterThan(0);
  });
});
