/** Lists, flags that do not go together, the end of a run in words, documents and exit codes. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { AccelError, type AccelErrorCode } from '../../base/error.ts';
import { completeRequest } from '../../converter/settings.ts';
import { run, tempDirectory } from '../../tests/support/tools.ts';
import { distinctOrders } from '../../triggers/many/check-orders.ts';
import type { ImageOrder, ImageOutcome, ImageState } from '../../triggers/many/image-orders.ts';
import { convertCommand } from '../commands/convert.ts';
import type { CommandContext } from '../context.ts';
import { EXIT_CODES } from '../error-report.ts';
import { runProgram } from '../program.ts';
import { LayerTracker } from '../progress/track.ts';
import { PLAIN_STYLE } from '../terminal.ts';
import { idleSurroundings } from '../testing/idle-surroundings.ts';
import { captured } from '../testing/sample.ts';
import { parseImageList } from './image-list.ts';
import { junitReport, manyDocument } from './many-document.ts';
import { createManyProgress, imageLine, totalLine } from './many-progress.ts';
import { renderManySummary } from './many-summary.ts';
import { errorOf } from './tally.ts';

const convert = convertCommand({} as CommandContext);
const list = (text: string) => parseImageList(text, 'images.txt', convert);

describe('a list', () => {
  it('has references, options and comments', () => {
    const lines = list(
      '\ufeff# all\r\nh.test/a:1\n\n  h.test/b:2   -o 2_obd --mode full # why\nh.test/c:3 --platform linux/amd64 --platform linux/arm64\noci:"./a b":1 --prefetch \'p q\' --no-prefetch\n',
    );
    expect(lines).toEqual([
      { place: 'images.txt:2', reference: 'h.test/a:1', flags: {} },
      { place: 'images.txt:4', reference: 'h.test/b:2', flags: { outputTag: '2_obd', mode: 'full' } },
      { place: 'images.txt:5', reference: 'h.test/c:3', flags: { platform: ['linux/amd64', 'linux/arm64'] } },
      { place: 'images.txt:6', reference: 'oci:./a b:1', flags: { prefetch: false } },
    ]);
  });

  it.each([
    ['h.test/a:1 --vzise 4', "unknown option '--vzise'", 'A line may have'],
    ['h.test/a:1 -u me:secret', "unknown option '-u'", 'A line may have'],
    ['h.test/a:1 h.test/b:1', 'too many arguments', 'a line of its own'],
    ['-o x', "missing required argument 'ref'", 'begins with a reference'],
    ['h.test/a:1 --mode ful', "option '--mode <mode>' argument 'ful' is invalid", undefined],
    ['h.test/a:1 --bs 5', '--bs does not take this value', undefined],
    ['h.test/a:1 -o "x', 'a quotation mark is not closed', undefined],
  ])('refuses %s', (line, message, hint) => {
    try {
      list(`h.test/ok:1\n${line}\n`);
      expect.unreachable();
    } catch (error) {
      expect(error).toMatchObject({ code: 'usage', where: { file: 'images.txt', line: 2 } });
      expect((error as AccelError).message).toContain(message);
      expect((error as AccelError).hint ?? '').toContain(hint ?? '');
    }
  });

  it('of 200,000 lines is read, one more is refused', async () => {
    const folder = await tempDirectory();
    const [most, more] = [join(folder.path, 'most'), join(folder.path, 'more')];
    const line = 'h.test/a:1\n';
    await writeFile(most, line.repeat(200_000));
    await writeFile(more, line.repeat(200_001));
    // The mistake of the second list is found when the first was read.
    const wrong = join(folder.path, 'wrong');
    await writeFile(wrong, '-o x\n');
    expect(await usage('--from', most, '--from', wrong)).toContain('begins with a reference');
    expect(await usage('--from', more)).toContain('the list has too many lines');
    await folder.remove();
    const orders = Array.from({ length: 1000 }, (_, at) => listedOrder(`images.txt:${at + 1}`));
    const [distinct, ...others] = distinctOrders(orders);
    expect([distinct!.places.length, distinct!.places.at(-1), others.length]).toEqual([1000, 'images.txt:1000', 0]);
  });

  it('has the options of the command, none of its own', () => {
    const long = convert.options.map((option) => option.long);
    expect(long).toEqual(expect.arrayContaining(['--output-tag', '--mode', '--platform', '--prefetch', '--force']));
  });
});

const listedOrder = (place: string): ImageOrder => ({
  reference: 'h.test/a:1',
  request: completeRequest({ repository: 'h.test/a', source: { tag: '1' }, outputs: [{ tag: '2', kind: 'full' }] }),
  verify: 'off',
  found: false,
  places: [place],
});

async function usage(...args: string[]): Promise<string> {
  const context = idleSurroundings();
  const code = await runProgram(['convert', ...args], context);
  expect(code).toBe(2);
  return context.stderr.text;
}

it.each([
  [['--fail-fast', 'h.test/a:1'], '--fail-fast is for many images'],
  [['--from', 'x', 'h.test/a:1'], 'the reference h.test/a:1 does not go with --from'],
  [['--from', 'x', '-o', 'y'], '-o does not go with --from'],
  [['--from', 'x', '--tags', 'y'], '--tags does not go with --from'],
  [['--from', 'x', '-r', 'h.test/a'], '-r does not go with --from'],
  [['--tags', 'x'], '--tags needs a repository'],
  [['--tags', 'x', '-r', 'h.test/a', '-i', '1'], '-i does not go with --tags'],
  [
    ['--tags', 'x', '-r', 'h.test/a', '--repository-pattern', 'h.test/*'],
    '--repository-pattern does not go with --tags',
  ],
  [['--tags', '{x', '-r', 'h.test/a'], 'this pattern cannot be used'],
  [['--repository-pattern', 'team/*'], 'begins with the host of its registry'],
  [['--rules', 'x', '--mode', 'full'], '--mode does not go with --rules'],
  [['--rules', 'x', '--platform', 'linux/amd64'], '--platform does not go with --rules'],
  // These have defaults: ignored, they would make images that a node cannot read.
  [['--rules', 'x', '--algorithm', 'lz4'], '--algorithm does not go with --rules'],
  [['--rules', 'x', '--bs', '4'], '--bs does not go with --rules'],
  [['--rules', 'x', '--span', '2M'], 'Rules have no key for it'],
  [['--rules', 'x', '--max-files', '5'], '--max-files does not go with --rules'],
  [['--tags', 'x', '-r', 'h.test/a', '--no-upload'], '--no-upload does not go with --tags'],
  [['--from', '-', '--password-stdin', '-u', 'me'], '--from - and --password-stdin both read standard input'],
  [['--from', '-', '--prefetch', '-'], '--from - and --prefetch - both read standard input'],
  [['--from', '-'], 'the list names no image'],
  [['--from', 'x', '--report', 'html=x'], 'the report cannot be written'],
])('%j is refused', async (args, message) => expect(await usage(...args)).toContain(message));

it('--no-prefetch goes with --rules', async () => {
  const context = idleSurroundings();
  expect(await runProgram(['convert', '--rules', 'no-such-file', '--no-prefetch'], context)).toBe(1);
  expect(context.stderr.text).toContain('no-such-file');
});

function outcome(tag: string, state: ImageState, more: Partial<ImageOutcome> = {}): ImageOutcome {
  return {
    order: { reference: `h.test/app:${tag}`, places: [] },
    repository: 'h.test/app',
    state,
    tags: [],
    warnings: [],
    bytes: { read: 0, reused: 0 },
    seconds: 1.5,
    ...more,
  };
}

const failed = (tag: string, code: AccelErrorCode, message = `broken by ${code}`) =>
  outcome(tag, 'failed', { error: new AccelError(code, message) });
const made = (tag: string) =>
  outcome(tag, 'converted', {
    tags: [{ tag: `${tag}_accelerated`, kind: 'full', digest: `sha256:${'a'.repeat(64)}`, size: 10, ratio: 1 }],
  });
const skipped = outcome('s', 'skipped', { skip: { code: 'cache-tag', reason: 'a record' } });

it.each<[string, ImageOutcome[], number]>([
  ['all done', [made('1'), outcome('2', 'up-to-date'), skipped], 0],
  ['all skipped', [skipped], 0],
  ['some failed', [made('1'), failed('2', 'unauthorized')], 6],
  ['some failed, others up to date', [outcome('1', 'up-to-date'), failed('2', 'layer-unsupported')], 6],
  ['all failed by the registry', [failed('1', 'registry-error'), failed('2', 'not-found')], 1],
  ['all denied', [failed('1', 'unauthorized'), failed('2', 'unauthorized'), skipped], 4],
  ['none can be converted', [failed('1', 'layer-unsupported'), failed('2', 'image-unsupported')], 3],
  ['all failed for different reasons', [failed('1', 'unauthorized'), failed('2', 'layer-unsupported')], 1],
])('the exit code of a run: %s', (_, outcomes, code) => {
  const error = errorOf(outcomes);
  expect(error === undefined ? 0 : EXIT_CODES[error.code]).toBe(code);
});

const outcomes = [
  made('1'),
  outcome('2', 'up-to-date'),
  skipped,
  failed('3', 'gzip-invalid', 'bad \u001b[2J<&">'),
  failed('4', 'gzip-invalid', 'bad \u001b[2J<&">'),
  outcome('5', 'interrupted'),
  outcome('6', 'not-started'),
];

it('the summary counts, and groups reasons', () => {
  const text = renderManySummary(outcomes, { style: PLAIN_STYLE, columns: 80, unicode: true, seconds: 3, repeated: 1 });
  expect(text.split('\n')).toEqual([
    '✘ 2 of 6 images done in 3.0 s',
    '  converted         1  layers of 0 B converted, of 0 B reused',
    '  up to date        1',
    '  skipped           1',
    '         1 × a record [cache-tag]',
    '  failed            2',
    '         2 × bad \\x1b[2J<&"> [gzip-invalid]',
    '             h.test/app:3',
    '             h.test/app:4',
    '  interrupted       1',
    '  not started       1',
    '  repeated          1  named more than once, converted once',
    '',
  ]);
});

it('the document has every image, and the totals', () => {
  const document = JSON.parse(manyDocument(outcomes, { seconds: 3, exitCode: 6 }));
  expect(document.images).toHaveLength(7);
  expect(document.images[0].tags[0].reference).toBe(`h.test/app:1_accelerated@sha256:${'a'.repeat(64)}`);
  expect(document.totals).toEqual({
    ...{ images: 7, converted: 1, upToDate: 1, due: 0, skipped: 1, failed: 2, interrupted: 1, notStarted: 1 },
  });
  expect(document.failures).toEqual([{ code: 'gzip-invalid', reason: 'bad \u001b[2J<&">', count: 2 }]);
});

it('the report is XML that another parser reads', async () => {
  const script = `import sys, json, xml.etree.ElementTree as e
r = e.fromstring(sys.stdin.buffer.read())
print(json.dumps([[c.get('classname'), c.get('name'), [[k.tag, k.get('message')] for k in c]] for c in r.iter('testcase')] + [r.attrib]))`;
  const { stdout } = await run('python3', ['-c', script], { input: junitReport(outcomes, { seconds: 3 }) });
  const read = JSON.parse(stdout.toString('utf8'));
  expect(read[0]).toEqual(['h.test/app', '1', [['system-out', null]]]);
  expect(read[2]).toEqual(['h.test/app', 's', [['skipped', 'a record']]]);
  expect(read[3]).toEqual(['h.test/app', '3', [['failure', 'bad \ufffd[2J<&">']]]);
  expect(read.at(-1)).toEqual({ tests: '7', failures: '2', errors: '0', skipped: '3', time: '3.000' });
});

describe('the display', () => {
  it('writes a line for each image that ended', async () => {
    const output = captured();
    const progress = await createManyProgress(output, { env: {}, style: PLAIN_STYLE, verbosity: 'normal' });
    progress.begin(7, 0, 0);
    for (const one of outcomes.slice(0, 4)) progress.onEvent({ type: 'image-done', outcome: one });
    progress.stop();
    expect(output.text.split('\n')).toEqual([
      '7 images to look at',
      '[1/7] converted h.test/app:1 -> 1_accelerated 10 B in 1.5 s',
      '[2/7] up to date h.test/app:2',
      '[3/7] skipped h.test/app:s: a record',
      '[4/7] failed h.test/app:3: bad \\x1b[2J<&"> [gzip-invalid]',
      '',
    ]);
  });

  it.each([20, 40, 80, 200])('stays within %d columns', (columns) => {
    const canvas = { columns, rows: 1, style: PLAIN_STYLE, unicode: true };
    const tracker = new LayerTracker();
    const layer = { platform: 'linux/amd64', index: 0, count: 3, digest: `sha256:${'a'.repeat(64)}`, size: 100 };
    tracker.take({ type: 'source', reference: 'x', digest: 'y', platforms: [], bytes: 300 }, 0);
    tracker.take({ type: 'layer-start', layer }, 0);
    tracker.take({ type: 'layer-progress', layer, bytesRead: 50 }, 1);
    const name = { reference: `registry.example.com/${'team/'.repeat(12)}app:1.2`, places: [] };
    for (const line of [
      imageLine(name, { tracker, stage: '' }, canvas),
      imageLine(name, { tracker: new LayerTracker(), stage: 'looking' }, canvas),
    ]) {
      expect(line.length).toBeLessThan(columns);
    }
    const total = totalLine({ images: 300, ended: 50, before: 0, failed: 3, idle: 100 }, 10, canvas);
    expect(total.length).toBeLessThan(columns);
    if (columns >= 80) expect(total).toContain('3 failed, 30 s left');
  });
});

it('a command of the test alone knows no options', () => {
  expect(() => parseImageList('h.test/a:1 -o x', 'l', new Command())).toThrow('unknown option');
});
