import { describe, expect, it } from 'vitest';
import { AccelError } from '../base/error.ts';
import { EXIT_CODES, errorDocument, renderError } from './error-report.ts';

describe('exit codes', () => {
  it.each([
    ['usage', 2],
    ['reference-invalid', 2],
    ['tag-too-long', 2],
    ['image-unsupported', 3],
    ['layer-unsupported', 3],
    ['limit-exceeded', 3],
    ['already-accelerated', 3],
    ['tag-conflict', 3],
    ['unauthorized', 4],
    ['verification-failed', 5],
    ['aborted', 130],
    ['not-found', 1],
    ['digest-mismatch', 1],
    ['tar-invalid', 1],
    ['internal', 1],
  ] as const)('%s is %d', (code, exit) => expect(EXIT_CODES[code]).toBe(exit));

  it('no error exits as if all were well', () => {
    for (const code of Object.values(EXIT_CODES)) expect(code).not.toBe(0);
  });
});

describe('renderError', () => {
  it('says what, where, expected, found and what to do', () => {
    const error = new AccelError('layer-unsupported', 'a gzip layer with two members', {
      where: { image: 'host/app:1', layer: 3, path: 'etc/caf\xc3\xa9\x1b[2J' },
      expected: 'one member',
      found: 'a second member at byte 1024',
      hint: 'Convert in full mode.',
    });
    expect(renderError(error)).toBe(
      [
        'error [layer-unsupported] a gzip layer with two members',
        '  image     host/app:1',
        '  layer     3',
        '  path      etc/café\\x1b[2J',
        '  expected  one member',
        '  found     a second member at byte 1024',
        '  to do     Convert in full mode.',
        '',
      ].join('\n'),
    );
  });

  it('indents what a registry answered, harmless and bounded', () => {
    const found = `{"errors":[\n\x1b]0;owned\x07\n${'x\n'.repeat(40)}`;
    const text = renderError(new AccelError('registry-error', 'the registry refused', { found }));
    expect(text).toContain('  found     {"errors":[\n            \\x1b]0;owned\\x07\n');
    expect(text).toContain('… (--verbose shows all of it)');
    expect(text.split('\n').length).toBeLessThan(20);
    expect(renderError(new AccelError('registry-error', 'no', { found }), { verbose: true })).not.toContain(
      'all of it',
    );
  });

  it('cuts one endless line', () => {
    const text = renderError(new AccelError('registry-error', 'no', { found: 'x'.repeat(1e6) }));
    expect(text.length).toBeLessThan(3000);
  });

  it('shows the chain of causes with verbose, also when it is a ring', () => {
    const cause = new Error('socket closed');
    cause.cause = cause;
    const text = renderError(new AccelError('registry-unreachable', 'no answer', { cause }), { verbose: true });
    expect(text).toContain('caused by Error: socket closed');
  });

  it('asks for a report of a defect', () => {
    expect(renderError(new AccelError('internal', 'undefined is not a function'))).toContain('defect of accel');
  });
});

it('the JSON form names code and exit code', () => {
  const error = new AccelError('tag-too-long', 'too long', { where: { tag: 'x' }, expected: 128, found: 140 });
  expect(errorDocument(error)).toEqual({
    formatVersion: 1,
    error: { code: 'tag-too-long', message: 'too long', where: { tag: 'x' }, expected: 128, found: 140 },
    exitCode: 2,
  });
});
