import { describe, expect, it } from 'vitest';
import { hideSecret } from '../base/secrets.ts';
import { LogOutput, writeLog } from './log-output.ts';
import { createProgress } from './progress/index.ts';
import { captured, sampleEvents } from './testing/sample.ts';

function jsonLog() {
  const stream = captured({ isTTY: true, columns: 80 });
  const log = new LogOutput(stream);
  log.asJson();
  const lines = () =>
    stream.text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  return { stream, log, lines };
}

describe('text', () => {
  it('passes as it is, to a terminal as to a file', () => {
    const stream = captured({ isTTY: true, columns: 80, rows: 24 });
    const log = new LogOutput(stream);
    log.write('a\u001b[31mb\n');
    writeLog(log, { level: 'info', message: 'no' }, 'text\n');
    expect(stream.text).toBe('a\u001b[31mb\ntext\n');
    expect([log.isTTY, log.columns, log.rows]).toEqual([true, 80, 24]);
  });
});

describe('JSON', () => {
  it('each whole line is an object, without colours', () => {
    const { log, lines } = jsonLog();
    log.write('\u001b[33mwarning\u001b[39m: left out\n\n  indented\nfirst ');
    expect(lines()).toHaveLength(2);
    log.write(Buffer.from('half\n'));
    expect(lines()).toEqual([
      { level: 'warning', message: 'left out' },
      { level: 'info', message: '  indented' },
      { level: 'info', message: 'first half' },
    ]);
  });

  it('is no terminal, hides secrets and escapes what steers one', () => {
    const { log, lines, stream } = jsonLog();
    hideSecret('very-secret-log');
    writeLog(log, { level: 'error', message: 'a\nb\u202e', fields: { url: 'http://x/very-secret-log' } }, '');
    expect(log.isTTY).toBe(false);
    expect(stream.text.trimEnd()).not.toMatch(/\n|\u202e/);
    expect(lines()).toEqual([{ level: 'error', message: 'a\nb\u202e', fields: { url: 'http://x/***' } }]);
  });

  it('events have their words and their facts', async () => {
    const { log, lines } = jsonLog();
    const progress = await createProgress(log, {}, 'normal');
    for (const event of sampleEvents()) progress.onEvent(event);
    progress.stop();
    expect(lines().map(({ fields }) => (fields as { event: string }).event)).toEqual([
      'source',
      'warning',
      'layer-done',
      'restart',
      'tagged',
      'up-to-date',
    ]);
    expect(lines()[1]).toMatchObject({
      level: 'warning',
      message: expect.stringMatching(/^linux\/amd64 layer 1\/2 .*left out/),
      fields: { layer: { platform: 'linux/amd64', index: 0 } },
    });
  });

  it('only warnings, where only the result is wanted', async () => {
    const { log, lines } = jsonLog();
    const progress = await createProgress(log, {}, 'warnings');
    for (const event of sampleEvents()) progress.onEvent(event);
    expect(lines().map(({ level }) => level)).toEqual(['warning']);
  });
});
