/** The display of a conversion in a real terminal, and the output of the same in a log, a script or CI. */
import { spawn } from 'node:child_process';
import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ACCEL, requireBuild } from '../support/accel.ts';
import { openTerminal } from '../support/terminal.ts';
import { describeWith, requireTool, type TempDirectory, tempDirectory } from '../support/tools.ts';

const DEMO = join(import.meta.dirname, '../../fixtures/images/demo');
const UTF8 = { LANG: 'C.UTF-8' };
const ESCAPE = '\u001b';

let scratch: TempDirectory;
let layouts = 0;

beforeAll(async () => {
  await requireBuild();
  scratch = await tempDirectory();
});
afterAll(() => scratch?.remove());

/** A fresh copy of the demo image, by a short path: it is part of lines of 40 columns. */
async function layout(): Promise<string> {
  const name = `l${++layouts}`;
  await cp(DEMO, join(scratch.path, name), { recursive: true });
  return name;
}

describeWith({ tools: ['tmux'] }, 'the terminal of a conversion', () => {
  it.each([80, 40])('%d columns: layers, summary, nothing broken over lines, nothing left behind', async (columns) => {
    const terminal = await openTerminal({
      columns,
      rows: 45,
      cwd: scratch.path,
      env: UTF8,
      command: `'${process.execPath}' '${ACCEL}' convert -r oci:${await layout()} -i latest; echo "exit $?"`,
    });
    try {
      const screen = await terminal.waitFor(/^exit \d+$/m);
      expect(screen).toContain('exit 0');
      // Four finished layers with their sizes, in any order of their ends.
      expect(screen.match(/^✔ [1-4]\/4 [0-9a-f]{7,12} .* → /gm)).toHaveLength(4);
      expect(screen).toMatch(/✔ converted and pushed in /);
      for (const tag of ['latest_accelerated', 'latest_containerd_accelerated']) expect(screen).toContain(tag);
      // Bars and the line of totals are gone, and every line of layers is one line.
      expect(screen).not.toMatch(/[█░]|^ . total/m);
      expect(screen.split('\n').filter((line) => /^[0-9a-f]{1,12}$/.test(line))).toEqual([]);
      // The cursor is back where a shell goes on.
      expect(screen.split('\n').at(-1)).toBe('exit 0');
      expect(await terminal.screen({ escapes: true })).toContain(ESCAPE);
    } finally {
      await terminal.close();
    }
  });

  it.each([
    ['NO_COLOR', { ...UTF8, NO_COLOR: '1' }, ''],
    ['CI', { ...UTF8, CI: 'true', NO_COLOR: '1' }, ''],
    ['a dumb terminal', { ...UTF8, TERM: 'dumb' }, ''],
  ])('%s: no colour', async (_, env, flags) => {
    const terminal = await openTerminal({
      columns: 100,
      rows: 45,
      cwd: scratch.path,
      env,
      command: `'${process.execPath}' '${ACCEL}' convert -r oci:${await layout()} -i latest ${flags}; echo "exit $?"`,
    });
    try {
      await terminal.waitFor(/^exit 0$/m);
      const colored = await terminal.screen({ escapes: true });
      expect(stripVTControlCharacters(colored)).toBe(colored);
    } finally {
      await terminal.close();
    }
  });
});

describeWith({ tools: ['script'] }, 'what is written to a terminal', () => {
  it('redraws in one update a frame, hides the cursor and gives it back', async () => {
    const written = await onTerminal(['convert', '-r', `oci:${await layout()}`, '-i', 'latest']);
    expect(written).toContain(`${ESCAPE}[?25l`);
    expect(written.lastIndexOf(`${ESCAPE}[?25h`)).toBeGreaterThan(written.lastIndexOf(`${ESCAPE}[?25l`));
    // Synchronised output (mode 2026): as many ends as beginnings, or a terminal would freeze.
    const count = (text: string) => written.split(text).length - 1;
    expect(count(`${ESCAPE}[?2026h`)).toBe(count(`${ESCAPE}[?2026l`));
    expect(count(`${ESCAPE}[?2026h`)).toBeGreaterThan(0);
  });

  it.each([
    [
      '--quiet',
      ['--quiet'],
      {},
      /^oci:l\d+:latest_accelerated@sha256:[0-9a-f]{64}\noci:l\d+:latest_containerd_accelerated@sha256:[0-9a-f]{64}\n$/,
    ],
    ['--json', ['--json'], {}, /^\{\n[\s\S]*\n\}\n$/],
  ])('%s: the result and nothing else, not even an escape', async (_, flags, env, expected) => {
    const written = await onTerminal(['convert', '-r', `oci:${await layout()}`, '-i', 'latest', ...flags], env);
    expect(written).not.toContain(ESCAPE);
    // Warnings are never hidden: the demo's image has a hard link and a path that containerd handles otherwise.
    expect(written.replaceAll(/^warning: .*\n/gm, '')).toMatch(expected);
  });

  it('CI: lines that a log keeps, and no cursor moved', async () => {
    const written = await onTerminal(['convert', '-r', `oci:${await layout()}`, '-i', 'latest'], {
      CI: 'true',
      NO_COLOR: '1',
    });
    expect(written).not.toContain(ESCAPE);
    expect(written.match(/^linux\/amd64 layer \d\/4 [0-9a-f]{12}: /gm)).toHaveLength(4);
  });

  it('a terminal without a size, as CI systems and `docker run -t` have it: lines, and an end', async () => {
    const written = await onTerminal(['convert', '-r', `oci:${await layout()}`, '-i', 'latest'], {}, { columns: 0 });
    expect(written).not.toContain(`${ESCAPE}[?25l`);
    expect(written).toContain('converted and pushed');
  });

  it('an interrupt gives the cursor back and exits 130', async () => {
    const written = await onTerminal(
      ['convert', '-r', `oci:${await layout()}`, '-i', 'latest'],
      {},
      { interrupt: true },
    );
    if (written.includes('converted and pushed')) return; // It was done before the interrupt reached it.
    // Where cleaning up takes longer than the watcher waits, the process ends without its last line.
    expect(written).toMatch(/\[aborted\]/);
    expect(written).toContain('status 130');
    expect(written.lastIndexOf(`${ESCAPE}[?25h`)).toBeGreaterThanOrEqual(written.lastIndexOf(`${ESCAPE}[?25l`));
  });

  /** Runs accel on a pseudo-terminal and answers every byte that it wrote there, with line ends as in a file. */
  async function onTerminal(
    args: readonly string[],
    env: Readonly<Record<string, string>> = {},
    { interrupt = false, columns = 80 } = {},
  ): Promise<string> {
    const words = [process.execPath, ACCEL, ...args].map((word) => `'${word}'`).join(' ');
    // The shell gets the interrupt too, and has to outlive it to print the status.
    const told = interrupt ? `trap : INT; ${words}; echo status $?` : words;
    const command = `stty cols ${columns} rows 24; ${told}`;
    const child = spawn(requireTool('script'), ['-q', '-e', '-c', command, '/dev/null'], {
      cwd: scratch.path,
      env: { PATH: process.env.PATH, HOME: scratch.path, TERM: 'xterm-256color', SHELL: '/bin/sh', ...UTF8, ...env },
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const pieces: Buffer[] = [];
    child.stdout.on('data', (piece: Buffer) => {
      pieces.push(piece);
      // The hidden cursor says that the display runs; ^C goes through the terminal, as a key does.
      if (interrupt && pieces.length === 1) child.stdin.write('\u0003');
    });
    await new Promise((resolve, reject) => {
      child.on('error', reject);
      child.on('close', resolve);
    });
    child.stdin.destroy();
    return Buffer.concat(pieces).toString('utf8').replaceAll('\r\n', '\n');
  }
});
