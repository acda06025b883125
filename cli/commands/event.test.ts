/** `accel event`, as a user types it, about images in a layout. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { convertedLayout } from '../../reader/testing/test-images.ts';
import { smallTar, type TestLayout } from '../../tests/support/converter.ts';
import { runProgram } from '../program.ts';
import { captured } from '../testing/sample.ts';

let layout: TestLayout;
let directory: string;
let repository: string;
beforeAll(async () => {
  layout = await convertedLayout([{ tar: smallTar(1) }]);
  repository = `oci:${layout.directory}`;
  directory = await mkdtemp(join(tmpdir(), 'accel-event-'));
});
afterAll(async () => {
  await layout.remove();
  await rm(directory, { recursive: true, force: true });
});

async function event(payload: unknown, ...flags: string[]) {
  const file = join(directory, 'event.json');
  await writeFile(file, typeof payload === 'string' ? payload : JSON.stringify(payload));
  const stdout = captured();
  const stderr = captured();
  const code = await runProgram(['event', '--payload', file, ...flags], {
    stdout,
    stderr,
    stdin: (async function* () {})(),
    env: {},
    signal: new AbortController().signal,
    loadConverter: () => import('../../index.ts'),
  });
  return { code, out: stdout.text, err: stderr.text };
}

const dispatch = (tag: string) => ({ client_payload: { repository, tag } });

describe('accel event', () => {
  it('says what it calls for, in one line', async () => {
    expect(await event(dispatch('base'))).toEqual({
      code: 0,
      out: `convert ${repository}:base: an ordinary image\n`,
      err: '',
    });
    const { out } = await event(dispatch('absent'));
    expect(out).toMatch(/^skipped [^ ]+:absent: [^\n]+ \(gone\)\n$/);
  });

  it('says it as a document', async () => {
    const { out } = await event({ client_payload: { tag: 'base_accelerated' } }, '-r', repository, '--json');
    expect(JSON.parse(out)).toMatchObject({ formatVersion: 1, event: 'accelerated', repository });
  });

  it('takes the expression and the name of the event', async () => {
    expect((await event(dispatch('base'), '--expression', '^base$')).out).toContain('(named-accelerated)');
    expect((await event(dispatch('base'), '--name', 'push')).out).toContain('(no-image)');
  });

  it.each<[string, unknown, string]>([
    ['is not JSON', '{', 'not JSON'],
    ['does not name its event', {}, '--name'],
    ['names no repository', { client_payload: { tag: 'base' } }, 'names no repository'],
  ])('exits 2 when the payload %s', async (_, payload, text) => {
    const { code, err } = await event(payload);
    expect(code).toBe(2);
    expect(err).toContain(text);
  });

  it('does not print the escape sequences of a tag', async () => {
    const { err } = await event(dispatch('a\u001b[2J'));
    expect(err).not.toContain('\u001b');
  });
});
