/** The form of the script; there is no PowerShell here to run it. */
import { expect, it } from 'vitest';
import { loadWholeProgram } from '../../scripts/cli-docs.ts';
import { type CompletionCommand, completionModel } from './model.ts';
import { powershellCompletion } from './powershell.ts';

const convert: CompletionCommand = {
  path: ['accel', 'convert'],
  summary: 'convert an image',
  options: [
    {
      names: ['-m', '--mode'],
      description: "the reader's ‘mode’",
      value: { kind: 'words', words: ['full', 'index-only'] },
    },
    { names: ['--out'], description: '', value: { kind: 'files' } },
  ],
  operands: [],
  commands: [],
};
const script = powershellCompletion({ path: ['accel'], summary: '', options: [], operands: [], commands: [convert] });

it('has commands, flags and values, each with what it means', () => {
  expect(script).toContain("'accel' = @{\n      Words = [ordered]@{ 'convert' = 'convert an image' }");
  expect(script).toContain("'--mode' = [ordered]@{ 'full' = 'full'; 'index-only' = 'index-only' }");
  expect(script).toContain("'--out' = [ordered]@{  }");
});

it('doubles the quotes that would end a literal, and gives no empty tool tip', () => {
  expect(script).toContain("'--mode' = 'the reader''s ‘‘mode’’'");
  expect(script).toContain("'--out' = '--out'");
});

it('closes what it opens', () => {
  const bare = script.replace(/'(?:[^'\n]|'')*'|^\s*#.*$/gm, '');
  for (const [open, close] of ['{}', '()', '[]'].map((pair) => [...pair] as [string, string]))
    expect(bare.split(open).length, open).toBe(bare.split(close).length);
});

it('has no two names that PowerShell, which ignores case, takes for one', async () => {
  const script = powershellCompletion(completionModel(await loadWholeProgram()));
  for (const [, rows = ''] of script.matchAll(/\[ordered\]@\{ (.*) \}$/gm)) {
    const keys = [...rows.matchAll(/(?:^|; )'([^']+)' = /g)].map((match) => match[1]!.toLowerCase());
    expect(keys.filter((key, index) => keys.indexOf(key) !== index)).toEqual([]);
  }
});
