/** Names and texts that would steer a terminal, forge a line of a log, or turn what is read around: in every output. */
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { buildIndexLayout, buildLayout } from '../../fixtures/image-builder.ts';
import { TarBuilder } from '../../fixtures/tar-builder.ts';
import { type AccelRun, accel } from '../support/accel.ts';
import { type TempDirectory, tempDirectory } from '../support/tools.ts';

/** A window title, a cleared screen, a line of its own for a CI system, an override of the reading direction. */
const EVIL = 'e\x1b]0;title\x07\x1b[2J\n::error::forged\r\u202egnp.exe\u009b31m';
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are the characters to find
const HARMFUL = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]|^::/mu;

let home: TempDirectory;
let layout: string;
let other: string;

beforeAll(async () => {
  home = await tempDirectory();
  layout = join(home.path, 'layout');
  other = join(home.path, 'other');
  const tar = new TarBuilder()
    .dir(`${EVIL}/`)
    .file(`${EVIL}/${EVIL}`, 'content', { xattrs: { 'user.x': 'y', [`com.apple.${EVIL}`]: 'z' } })
    .symlink('link', EVIL);
  const platform = { os: 'linux', architecture: EVIL };
  const image = {
    layers: [{ tar: tar.build(), createdBy: EVIL }],
    options: { platform, annotations: { [EVIL]: EVIL } },
  };
  await buildIndexLayout(
    layout,
    'latest',
    [image, { layers: [], options: { platform: { os: EVIL, architecture: EVIL } } }],
    {
      annotations: { [EVIL]: EVIL },
    },
  );
  await buildLayout(other, 'latest', [{ tar: new TarBuilder().file(`${EVIL}x`, 'else').build() }], { platform });
  const converted = await accel(['convert', '-r', `oci:${layout}`, '-i', 'latest', '--verbose']);
  expect(converted.exitCode, converted.stderr).toBe(0);
  expectHarmless(converted);
  expect(converted.stderr).toContain('\\x1b]0;title');
});
afterAll(() => home?.remove());

function expectHarmless({ stdout, stderr }: AccelRun): void {
  expect(HARMFUL.exec(stdout)?.[0]).toBeUndefined();
  expect(HARMFUL.exec(stderr)?.[0]).toBeUndefined();
}

const accelerated = (): string => `oci:${layout}:latest_accelerated`;

test.each<[name: string, args: () => string[], exit: number]>([
  ['convert --dry-run', () => ['convert', '-r', `oci:${layout}`, '-i', 'latest', '--force', '--dry-run'], 0],
  ['ls', () => ['ls', accelerated(), '--platform', 'linux/amd64'], 1],
  ['ls -lR', () => ['ls', '-lR', accelerated()], 0],
  ['inspect', () => ['inspect', accelerated()], 0],
  ['inspect of the source', () => ['inspect', `oci:${layout}:latest`], 0],
  ['verify', () => ['verify', accelerated()], 0],
  ['verify against another image', () => ['verify', accelerated(), '--source', `oci:${other}:latest`], 5],
  ['cat of what is not there', () => ['cat', accelerated(), `/${EVIL}`], 1],
  ['an error of the arguments', () => ['ls', `oci:${EVIL}`], 2],
])('%s', async (_, args, exit) => {
  const result = await accel([...args(), '--verbose']);
  expect(result.exitCode, result.stderr + result.stdout).toBe(exit);
  expectHarmless(result);
});

test.each<[name: string, args: () => string[]]>([
  ['convert', () => ['convert', '-r', `oci:${layout}`, '-i', 'latest', '--force', '--json', '--dump-manifest']],
  ['inspect', () => ['inspect', accelerated(), '--json']],
  ['verify with differences', () => ['verify', accelerated(), '--source', `oci:${other}:latest`, '--json']],
])('the JSON of %s stays JSON', async (_, args) => {
  const { stdout } = await accel(args());
  expect(() => JSON.parse(stdout)).not.toThrow();
  expectHarmless({ stdout, stderr: '', exitCode: 0, leftovers: [] });
});
