/**
 * `npm run package`: standalone executables of accel and Debian packages into dist/packages, with their checksums.
 * `npm run package -- linux-x64 linux-x64-musl` makes those alone; those for musl are made when they are named.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { VERSION } from '../../base/version.ts';
import { projectRoot } from '../project-root.ts';
import { checksumLine, packedLibraries, writeArchive } from './archive.ts';
import { writeDebianPackage } from './debian.ts';
import { preparedProgram, writeExecutable } from './executable.ts';
import { packageTexts } from './package-texts.ts';
import { bundleStandalone } from './standalone-bundle.ts';
import { nodeFor, TARGETS, type Target } from './targets.ts';

/** Names that Debian has for the architectures; its systems have no musl. */
const DEBIAN: Partial<Record<Target, string>> = { 'linux-x64': 'amd64', 'linux-arm64': 'arm64' };

process.chdir(projectRoot(import.meta.url));
const asked = process.argv.slice(2);
const unknown = asked.find((name) => !TARGETS.some((target) => target === name));
if (unknown !== undefined) throw new Error(`${unknown} is no target: ${TARGETS.join(', ')}`);

const output = process.env.ACCEL_PACKAGES ?? 'dist/packages';
rmSync(output, { recursive: true, force: true });
mkdirSync(output, { recursive: true });

const bundle = await bundleStandalone();
const here = await nodeFor(`linux-${process.arch === 'arm64' ? 'arm64' : 'x64'}`);
const prepared = preparedProgram(here.program, bundle);
const texts = await packageTexts(bundle, here);

const sums: string[] = [];
for (const target of TARGETS.filter((name) => (asked.length === 0 ? !name.endsWith('-musl') : asked.includes(name)))) {
  const { program, libraries } = await nodeFor(target);
  const folder = `accel-${VERSION}-${target}`;
  const executable = join(output, folder);
  await writeExecutable(executable, program, prepared);
  await made(`${folder}.tar.gz`, (path) =>
    writeArchive(path, [
      { name: `${folder}/bin/accel`, content: readFileSync(executable), mode: 0o755 },
      ...packedLibraries(folder, libraries),
      { name: `${folder}/share/man/man1/accel.1`, content: texts.manual },
      ...Object.entries(texts.completions).map(([shell, content]) => ({
        name: `${folder}/share/accel/completion.${shell}`,
        content,
      })),
      { name: `${folder}/share/doc/accel/LICENSE`, content: readFileSync('LICENSE') },
      { name: `${folder}/share/doc/accel/copyright`, content: texts.copyright },
    ]),
  );
  const architecture = DEBIAN[target];
  if (architecture !== undefined)
    await made(`accel_${VERSION}_${architecture}.deb`, (path) =>
      writeDebianPackage(path, executable, architecture, texts),
    );
  rmSync(executable);
}
writeFileSync(join(output, 'SHA256SUMS'), sums.join(''));

async function made(name: string, write: (path: string) => void | Promise<void>): Promise<void> {
  const path = join(output, name);
  await write(path);
  sums.push(await checksumLine(path, name));
  console.log(path);
}
