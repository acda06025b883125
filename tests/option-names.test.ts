/** Flags and inputs are words of cli/ and action/: the rooms below name options, and each front end has its word. */
import type { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { INPUTS } from '../action/input-words.ts';
import type { OptionName } from '../base/advice.ts';
import { FLAGS, flagWords } from '../cli/option-words.ts';
import { idleProgram } from '../cli/testing/idle-surroundings.ts';
import { isTest, listFiles, PRODUCT_ROOMS, type SourceFile } from '../scripts/source-files.ts';
import { sourceTexts } from '../scripts/source-text.ts';
import { readAction } from './support/runner.ts';

const root = new URL('..', import.meta.url).pathname;
const FRONT_ENDS: readonly string[] = ['cli', 'action'];
/** The programs of the server read an argument list of their own. */
const SERVER_PROGRAM = /^server\/(?:\w+\/)?(?:\w+-)?main\.ts$/;

/** Flags of other programs that happen to be spelled as one of ours, with the text around them. */
const OF_OTHER_PROGRAMS = [
  /skopeo copy --format/,
  /^curl /,
  /-c (?:statement_timeout|enable_seqscan)=/,
  /\bdocker (?:load|save|pull) -/,
  /python3? -[a-zA-Z]/,
  /strace[^.]* -\w|[Ww]ith(?:out)? -y\b/,
];

const program = await idleProgram();

function flagsOf(command: Command): string[] {
  const own = command.options.flatMap(({ long, short }) => [long, short].filter((flag) => flag !== undefined));
  return [...own, ...command.commands.flatMap(flagsOf)];
}

const flags = new Set(flagsOf(program));

/** The flags of accel that a file mentions in its comments and literals, as `path:line flag`. */
function mentionedFlags({ path, text }: SourceFile): string[] {
  return sourceTexts(text).flatMap(({ text: part, line }) => {
    // A literal that is a flag alone, such as an argument for mknod, belongs to a call of another program.
    if (/^--?\w[\w-]*$/.test(part) || OF_OTHER_PROGRAMS.some((pattern) => pattern.test(part))) return [];
    return [...part.matchAll(/(?<![\w-])(--[a-z][\w-]*|-[a-zA-Z])(?![\w-])/g)]
      .filter(([, flag]) => flags.has(flag!))
      .map(([, flag]) => `${path}:${line} ${flag}`);
  });
}

const below = listFiles(
  root,
  [...PRODUCT_ROOMS.filter((room) => !FRONT_ENDS.includes(room)), 'index.ts'],
  ['.ts'],
).filter(
  ({ path }) =>
    !isTest(path) &&
    !path.includes('/testing/') &&
    !path.startsWith('formats/kernels/assembly/') &&
    !SERVER_PROGRAM.test(path),
);

describe('no room below the front ends spells a flag', () => {
  it('in its comments and messages', () => expect(below.flatMap(mentionedFlags)).toEqual([]));

  // The rule must see what it forbids, or it forbids nothing.
  it.each([
    ["hint: 'raise --max-files'", '--max-files'],
    ["hint: 'Name the result with -o TAG.'", '-o'],
    ['`Give the tag by -i/…: $' + '{a} -i $' + '{b}.`', '-i'],
    ['/** As `--dry-run` does. */', '--dry-run'],
  ])('%s is seen', (text, flag) =>
    expect(mentionedFlags({ path: 'oci/x.ts', text })).toContainEqual(`oci/x.ts:1 ${flag}`),
  );

  it.each(["'tar without --sparse'", "run('mknod', ['-m'])", 'a -i;', "'skopeo copy --format v2s2'", "'1-i'"])(
    '%s is allowed',
    (text) => expect(mentionedFlags({ path: 'oci/x.ts', text })).toEqual([]),
  );
});

describe('each option has the word of its front end', () => {
  it.each(Object.entries(FLAGS))('%s is %s', (_, flag) => {
    // A switch that is on by default has its flag in the negative.
    expect(flags.has(flag) || flags.has(flag.replace('--', '--no-'))).toBe(true);
  });

  it('inputs of the Action exist', async () => {
    const { inputs } = await readAction();
    const named = Object.values(INPUTS).filter((input) => input !== undefined);
    expect(named.filter((input) => inputs[input] === undefined)).toEqual([]);
  });

  it('prefetch add has a word of its own', () => {
    const strict = { option: 'prefetchStrict' as OptionName };
    expect(flagWords('prefetch add').option(strict)).toBe('--strict');
    expect(flagWords('convert').option(strict)).toBe('--prefetch-strict');
  });
});
