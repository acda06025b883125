/**
 * Takes the pictures of docs/images: a conversion of the Debian image (fixtures/real-image/build.sh makes it) in a real
 * terminal, while it runs and when it is done. `node dist/scripts/picture.js`, after a build; needs tmux.
 */
import { cp, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { realImage } from '../tests/support/real-image.ts';
import { openTerminal } from '../tests/support/terminal.ts';
import { tempDirectory } from '../tests/support/tools.ts';
import { ansiToSvg } from './ansi-svg.ts';

const CLI = join(import.meta.dirname, '..', 'cli', 'main.js');
const IMAGES = 'docs/images';

/** When the first picture is taken: several layers are through by then, and the bars differ. */
const MIDDLE = /total [1-5]\/6 .* [678]\d %/;

/** Milliseconds for a conversion, on however busy a machine. */
const PATIENCE = 300_000;

await mkdir(IMAGES, { recursive: true });
for (const columns of [80, 40]) await picture(columns);

async function picture(columns: number): Promise<void> {
  const scratch = await tempDirectory('accel-picture-');
  try {
    await cp(await realImage(), join(scratch.path, 'debian'), { recursive: true });
    const terminal = await openTerminal({
      columns,
      rows: 40,
      cwd: scratch.path,
      env: { LANG: 'C.UTF-8' },
      command: `'${process.execPath}' '${CLI}' convert -r oci:debian -i latest; echo; echo END`,
    });
    try {
      await terminal.waitFor(MIDDLE, PATIENCE);
      await save(
        `convert-${columns}`,
        await terminal.screen({ escapes: true }),
        columns,
        'accel convert while it runs',
      );
      await terminal.waitFor(/^END$/m, PATIENCE);
      const lines = (await terminal.screen({ escapes: true })).split('\n');
      // Without the mark of the end, and the empty line above it.
      await save(`done-${columns}`, lines.slice(0, -2).join('\n'), columns, 'accel convert when it is done');
    } finally {
      await terminal.close();
    }
  } finally {
    await scratch.remove();
  }
}

async function save(name: string, screen: string, columns: number, title: string): Promise<void> {
  await writeFile(join(IMAGES, `${name}.svg`), ansiToSvg(screen, columns, title));
  console.log(screen);
}
