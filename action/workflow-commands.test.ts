import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { captured } from '../cli/testing/sample.ts';
import { parseOutputFile, readCommand } from '../tests/support/runner.ts';
import { heredoc, Runner } from './workflow-commands.ts';

const ACTIONS = { GITHUB_ACTIONS: 'true' };

function written(body: (runner: Runner) => void, env: Record<string, string> = ACTIONS): string {
  const output = captured();
  body(new Runner(output, env));
  return output.text;
}

describe('the log', () => {
  it.each([
    ['a command', '::add-path::/tmp', ': :add-path::/tmp\n'],
    ['an indented command', '  ::stop-commands::x', '  : :stop-commands::x\n'],
    ['the older form', 'name ##[add-path]/tmp', 'name ## [add-path]/tmp\n'],
    ['a line break', 'one\n::error::two', 'one\n: :error::two\n'],
    ['a carriage return', 'one\r::error::two', 'one\\x0d::error::two\n'],
    ['an escape sequence', 'a\u001b[2J', 'a\\x1b[2J\n'],
    ['colons elsewhere', 'a ::b', 'a ::b\n'],
  ])('%s is no command', (_, text, expected) => expect(written((runner) => runner.log(text))).toBe(expected));

  it('no text at all becomes one', () => {
    const text = fc.stringMatching(/^[:#[\]\s\w\u2028\r\n-]*$/);
    fc.assert(
      fc.property(text, (value) => {
        const lines = written((runner) => runner.log(value)).split('\n');
        expect(lines.flatMap((line) => readCommand(line) ?? [])).toEqual([]);
      }),
      { interruptAfterTimeLimit: 2000 },
    );
  });
});

describe('an annotation', () => {
  it.each(['100 % of it', 'one\ntwo', 'one\r\ntwo', '%0A', 'a:b,c::d'])('carries %j whole', (text) => {
    const line = written((runner) => runner.annotate('error', text, text));
    expect(line.split('\n')).toHaveLength(2);
    expect(readCommand(line.trimEnd())).toEqual({ name: 'error', properties: { title: text }, data: text });
  });
});

describe('a secret', () => {
  it('is masked line by line, and escaped', () => {
    expect(written((runner) => runner.mask('a%b\nc\n'))).toBe('::add-mask::a%25b\n::add-mask::c\n');
  });

  it('is not written where nobody would hide it', () => {
    expect(written((runner) => runner.mask('secret'), {})).toBe('');
  });
});

describe('files of the runner', () => {
  let directory: string;
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'accel-runner-'));
  });
  afterAll(() => rm(directory, { recursive: true, force: true }));

  it('outputs of any text come back', async () => {
    const file = join(directory, 'output');
    const outputs = {
      event: 'convert',
      tags: 'a\nb',
      json: '{"x":"<<EOF\\nEOF"}',
      empty: '',
      odd: 'event=1\nx<<EOF\ny\nEOF',
    };
    const runner = new Runner(captured(), { GITHUB_OUTPUT: file });
    await runner.setOutputs(outputs);
    await runner.setOutputs({ event: 'skipped' });
    expect(parseOutputFile(await readFile(file, 'utf8'))).toEqual({ ...outputs, event: 'skipped' });
  });

  it('a value cannot end its own delimiter', () => {
    expect(() => heredoc('x', 'a\nEOF\nb', 'EOF')).toThrow(expect.objectContaining({ code: 'internal' }));
    expect(heredoc('x', 'a')).not.toBe(heredoc('x', 'a'));
  });

  it('without them outputs go to the log, and summaries nowhere', async () => {
    const output = captured();
    const runner = new Runner(output, {});
    await runner.setOutputs({ event: 'convert' });
    await runner.addSummary('# x');
    expect(output.text).toBe('output event: convert\n');
  });
});
