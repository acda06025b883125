/** The completion scripts, each in the shell that it is for. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { accel } from '../support/accel.ts';
import { openTerminal } from '../support/terminal.ts';
import { describeWith, run, type TempDirectory, tempDirectory } from '../support/tools.ts';

/** The words typed, and those that must be offered for them; with `none`, those that must not. */
const CASES: readonly { readonly line: string; readonly offers: readonly string[]; readonly none?: string }[] = [
  { line: 'accel con', offers: ['convert'] },
  { line: 'accel ', offers: ['convert', 'verify', 'inspect', 'ls', 'cat', 'cp', 'export', 'completion', 'help'] },
  { line: 'accel convert --plat', offers: ['--platform'], none: '--plain' },
  { line: 'accel convert --mode ', offers: ['full', 'index-only'] },
  { line: 'accel convert -r host/app --mode index-only --algo', offers: ['--algorithm'] },
  { line: 'accel convert --algorithm z', offers: ['zstd'], none: 'lz4' },
  { line: 'accel export ', offers: ['nbd', 'raw'], none: 'convert' },
  { line: 'accel export nbd --so', offers: ['--socket'] },
  { line: 'accel completion ', offers: ['bash', 'zsh', 'fish', 'powershell'] },
  { line: 'accel help ver', offers: ['verify'] },
  { line: 'accel convert --root-ca ./a', offers: ['./a name.pem'] },
  { line: 'accel convert --cert-dir ./', offers: ['./certs'], none: './a name.pem' },
  { line: 'accel export raw oci:x ./a', offers: ['./a name.pem'] },
  // Flags of another command, flags that are hidden, and what no shell can know.
  { line: 'accel verify --repo', offers: [] },
  { line: 'accel convert --fasto', offers: [] },
  { line: 'accel convert -i ', offers: [] },
];

let scratch: TempDirectory;

beforeAll(async () => {
  scratch = await tempDirectory();
  await writeFile(join(scratch.path, 'a name.pem'), '');
  await run('mkdir', [join(scratch.path, 'certs')]);
  for (const shell of ['bash', 'zsh', 'fish']) {
    const { stdout, stderr, exitCode } = await accel(['completion', shell]);
    expect({ stderr, exitCode }).toEqual({ stderr: '', exitCode: 0 });
    await writeFile(join(scratch.path, shell), stdout);
  }
});
afterAll(() => scratch?.remove());

describeWith({ tools: ['bash'] }, 'bash', () => {
  it.each(CASES)('$line', async ({ line, offers, none }) => {
    const offered = await bashOffers(line);
    expect(offered).toEqual(expect.arrayContaining([...offers]));
    if (none !== undefined) expect(offered).not.toContain(none);
    if (offers.length === 0) expect(offered).toEqual([]);
  });

  async function bashOffers(line: string): Promise<string[]> {
    const words = line.split(' ');
    const script = `source ./bash
COMP_WORDS=(${words.map((word) => `'${word}'`).join(' ')}) COMP_CWORD=${words.length - 1}
_accel
printf '%s\\n' "\${COMPREPLY[@]}"`;
    return lines((await run('bash', ['--norc', '-c', script], { cwd: scratch.path })).stdout);
  }
});

describeWith({ tools: ['fish'] }, 'fish', () => {
  it.each(CASES)('$line', async ({ line, offers, none }) => {
    const args = ['--no-config', '-c', `source ./fish; complete -C '${line}'`];
    const { stdout } = await run('fish', args, { cwd: scratch.path, env: { HOME: scratch.path } });
    const offered = lines(stdout).map((text) => text.split('\t')[0]!.replaceAll('\\', '').replace(/\/$/, ''));
    expect(offered).toEqual(expect.arrayContaining([...offers]));
    if (none !== undefined) expect(offered).not.toContain(none);
    if (offers.length === 0) expect(offered).toEqual([]);
  });
});

describeWith({ tools: ['zsh', 'tmux'] }, 'zsh', () => {
  it('completes at the prompt, from a folder of fpath', async () => {
    const start = [
      'autoload -Uz compinit',
      'fpath=($PWD/fpath $fpath)',
      'compinit -u -D',
      // A list that asks before it is long would wait for an answer.
      'LISTMAX=1000',
      'PS1="ready> "',
    ];
    await run('mkdir', ['-p', join(scratch.path, 'fpath')]);
    await run('cp', [join(scratch.path, 'zsh'), join(scratch.path, 'fpath', '_accel')]);
    await writeFile(join(scratch.path, '.zshrc'), `${start.join('\n')}\n`);
    const terminal = await openTerminal({
      columns: 100,
      rows: 40,
      command: 'zsh -d -i',
      cwd: scratch.path,
      env: { ZDOTDIR: scratch.path },
    });
    try {
      await terminal.waitFor(/ready>/);
      for (const { line, offers, none } of CASES) {
        await terminal.type('C-u', 'C-l');
        await terminal.waitFor(/^ready>$/);
        await terminal.type('-l', line);
        await terminal.type('Tab', 'Tab');
        if (offers.length === 0) {
          // Nothing to wait for: what is typed next shows that the shell is through with it, and put nothing in between.
          await terminal.type('-l', 'X');
          expect(await terminal.waitFor(/X$/m)).toBe(`ready> ${line}X`);
          continue;
        }
        // One offer is put into the line, several are listed below it.
        const last = offers.at(-1)!.replace('./', '');
        const shown = await terminal.waitFor(new RegExp(last.replaceAll(' ', '\\\\? ').replaceAll('.', '\\.')));
        if (offers.length > 1) for (const offer of offers) expect(shown).toContain(offer);
        if (none !== undefined) expect(shown.replace('ready>', '')).not.toContain(none.replace('./', ''));
      }
    } finally {
      await terminal.close();
    }
  });
});

function lines(output: Buffer): string[] {
  return output
    .toString('utf8')
    .split('\n')
    .filter((text) => text !== '');
}
