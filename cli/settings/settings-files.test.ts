import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { isTest, listFiles, PRODUCT_ROOMS } from '../../scripts/source-files.ts';
import { CONFIG_SCHEMA } from '../../server/config/schema.ts';
import { runProgram } from '../program.ts';
import { idleSurroundings } from '../testing/idle-surroundings.ts';
import { findFiles, userFilePath } from './find-files.ts';
import { SERVER_KEYS } from './parse-file.ts';
import { foreignVariables, misspelledVariables } from './variables.ts';

let root: string;
let project: string;
let user: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'accel-files-'));
  project = join(root, 'project', 'accel.yaml');
  user = join(root, 'home', '.config', 'accel', 'accel.yaml');
  await mkdir(join(root, 'project', 'a', 'b'), { recursive: true });
  await mkdir(join(root, 'home', '.config', 'accel'), { recursive: true });
});
beforeEach(() => Promise.all([project, user].map((file) => rm(file, { force: true }))));
afterAll(() => rm(root, { recursive: true }));

/** Runs a command in a folder of the project. */
async function run(line: string, env: Record<string, string> = {}) {
  const context = {
    ...idleSurroundings(),
    env: { HOME: join(root, 'home'), ...env },
    cwd: join(root, 'project', 'a', 'b'),
  };
  const code = await runProgram(line.split(' '), context);
  return { code, out: context.stdout.text, err: context.stderr.text };
}

const CONVERT = 'convert oci:/nonexistent:1 -o x';

describe('a mistake names file, line, column and key, and exits 2', () => {
  it.each([
    ['an unknown key', 'mode: full\nlevle: 9\n', [2, 1], 'unknown key "levle"', 'Did you mean level?'],
    ['a key in kebab case', 'platform: a\nchunk-size: 4M\n', [2, 1], 'chunk-size', 'Did you mean chunkSize?'],
    ['a flag', '--mode: full\n', [1, 1], '--mode', 'Did you mean mode?'],
    ['an unknown command', 'commands:\n  covnert:\n    mode: full\n', [2, 3], '"covnert"', 'Did you mean convert?'],
    [
      'a key of another command',
      'commands:\n  inspect:\n    level: 9\n',
      [3, 5],
      '"level" for inspect',
      'environment.md',
    ],
    ['a section at the top', 'convert:\n  level: 9\n', [2, 3], 'convert', 'below commands'],
    ['a value that the flag refuses', 'mode: full\n\nbs: 5\n', [3, 1], 'the key bs', 'power of two'],
    ['a choice', 'mode: ful\n', [1, 1], 'the key mode', 'full, index-only'],
    ['no value', 'mode:\n', [1, 6], 'mode', 'Leave the key out'],
    ['a switch', 'oci: maybe\n', [1, 1], 'the key oci', 'true or false'],
    ['a value for a switch that takes none', 'json: [true]\n', [1, 1], 'the key json', 'true or false'],
    ['a switch for a value', 'mode: true\n', [1, 1], 'the key mode', 'full, index-only'],
    ['a list', 'level: [1, 2]\n', [1, 1], 'the key level', 'a text or a number'],
    ['a map in a list', 'platform: [{a: 1}]\n', [1, 12], 'platform', 'a text, a number'],
    ['an alias', 'mode: &a full\nalgorithm: *a\n', [2, 12], 'algorithm', 'a text, a number'],
    ['two of a key', 'mode: full\nmode: full\n', [2, 1], 'not valid YAML', 'unique'],
    ['no YAML', 'mode: [\n', [2, 1], 'not valid YAML', ']'],
    ['a tag', 'mode: !!js/function x\n', [1, 7], 'not valid YAML', 'tag'],
    ['a list at the top', '- mode\n', [1, 1], 'no keys in the file', 'keys with values'],
    ['settings beside those of a server', 'mode: full\nagent: {}\n', [1, 1], 'of a server (agent)', 'another name'],
    ['a password', 'username: ci:very-secret\n', [1, 1], 'has a password', 'docker login'],
    ['a password of the target', 'targetUsername: ci:very-secret\n', [1, 1], 'has a password', 'docker login'],
  ])('%s', async (_, text, [line, column], message, advice) => {
    await writeFile(user, text);
    const { code, out, err } = await run(CONVERT);
    expect([code, out]).toEqual([2, '']);
    expect(err).toContain(message);
    expect(err).toContain(advice);
    expect(err).toMatch(new RegExp(` file +${user}\n +line +${line}\n +column +${column}\n`));
    expect(err).not.toContain('very-secret');
  });

  it.each([
    ['ACCEL_BS', '5', 'power of two'],
    ['ACCEL_MODE', 'ful', 'full, index-only'],
    ['ACCEL_QUIET', 'maybe', 'true, false, 1 or 0'],
    ['ACCEL_RATE_LIMIT', '0', 'such as 10/s'],
    ['ACCEL_BANDWIDTH', '1', 'from 16K'],
    ['ACCEL_RETRIES', '-1', 'from 0 to 100'],
    ['ACCEL_PROJECT_FILE', 'gone.yaml', 'off for none'],
  ])('%s=%s', async (name, text, advice) => {
    const { code, err } = await run(CONVERT, { [name]: text });
    expect(code).toBe(2);
    expect(err).toContain(`the environment variable ${name} `);
    expect(err).toContain(advice);
  });

  it('as a document, where a variable asks for JSON', async () => {
    const { out, err } = await run(CONVERT, { ACCEL_JSON: '1', ACCEL_BS: '5', ACCEL_LOG_FORMAT: 'json' });
    expect(JSON.parse(out)).toMatchObject({ error: { code: 'usage' }, exitCode: 2 });
    expect(JSON.parse(err)).toMatchObject({ level: 'error', fields: { code: 'usage', found: '5', exitCode: 2 } });
  });
});

describe('the file of a project', () => {
  it.each([
    'outputTag: latest',
    'username: me',
    'plain: true',
    'insecure: true',
    'rootCa: ca.pem',
    'maxFiles: 9',
    'prefetch: /etc/passwd',
    'verifyReused: false',
    'force: true',
  ])('%s is refused, unless the file is trusted', async (text) => {
    await writeFile(project, `${text}\n`);
    const { code, err } = await run(CONVERT);
    expect(code).toBe(2);
    expect(err).toContain('may not be set by the file of a project');
    expect(err).toContain(`ACCEL_PROJECT_FILE=${project}`);
    expect((await run('config --json', { ACCEL_PROJECT_FILE: project })).code).toBe(0);
    // A command that does not have the key refuses the file as well.
    expect((await run('ls oci:/nonexistent')).code).toBe(2);
    expect((await run('ls oci:/nonexistent', { ACCEL_PROJECT_FILE: 'off' })).code).toBe(1);
  });

  it('is the nearest one; the configuration of a server is left alone', async () => {
    await writeFile(project, 'mode: full\n');
    const nearer = join(root, 'project', 'a', 'accel.yaml');
    await writeFile(nearer, 'mode: index-only\n');
    expect(JSON.parse((await run('config --json')).out).files).toEqual([
      { kind: 'project', path: nearer, trusted: false },
    ]);
    await writeFile(nearer, 'agent:\n  listen: 127.0.0.1:65001\nregistries: []\n');
    expect(JSON.parse((await run('config --json')).out).files).toEqual([]);
    expect((await run('ls oci:/nonexistent')).err).toContain('not-found');
    await rm(nearer);
  });

  it('is read once where it is that of the user', () => {
    const search = { env: { HOME: join(root, 'home') }, platform: 'linux' } as const;
    return writeFile(user, '').then(() =>
      expect(findFiles({ ...search, cwd: join(root, 'home', '.config', 'accel') })).toEqual([
        { kind: 'user', path: user, trusted: true },
      ]),
    );
  });

  it('that is a device or too large is refused, not waited for', async () => {
    await symlink('/dev/zero', project);
    expect((await run('ls oci:/nonexistent')).code).toBe(1);
    await rm(project);
    await writeFile(project, `#${'x'.repeat(1 << 20)}\n`);
    expect((await run('ls oci:/nonexistent')).err).toContain('limit-exceeded');
  });
});

it.each([
  ['linux', { XDG_CONFIG_HOME: '/x', HOME: '/h' }, '/x/accel/accel.yaml'],
  ['linux', { XDG_CONFIG_HOME: 'relative', HOME: '/h' }, '/h/.config/accel/accel.yaml'],
  ['linux', {}, undefined],
  ['darwin', { HOME: '/h' }, '/h/Library/Application Support/accel/accel.yaml'],
  ['win32', { APPDATA: '/data' }, '/data/accel/accel.yaml'],
] as const)("the user's file on %s with %j", (platform, env, path) =>
  expect(userFilePath({ env, platform })).toBe(path),
);

describe('accel config', () => {
  it('prints origins, and no password', async () => {
    await writeFile(user, 'username: ci\nretries: 3\ncommands:\n  convert:\n    bs: 8K\n');
    await writeFile(project, 'algorithm: zstd\n');
    const { code, out } = await run('config --command convert', { ACCEL_TARGET_USERNAME: 'bot:very-secret' });
    expect(code).toBe(0);
    expect(out).toContain(`${project} (may not set everything)`);
    expect(out).toMatch(new RegExp(`--username +ci +${user}:1\n`));
    expect(out).toMatch(new RegExp(`--bs +8K +${user}:5\n`));
    expect(out).toMatch(new RegExp(`--algorithm +zstd +${project}:1\n`));
    expect(out).toMatch(/--target-username +bot:\*\*\* +ACCEL_TARGET_USERNAME\n/);
    expect(out).toMatch(/--span +1M +default\n/);
    expect(out).not.toContain('very-secret');
  });

  it('without anything set', async () => expect((await run('config')).out).toContain('every setting has its default'));

  it('an unknown command', async () => {
    expect(await run('config --command covnert')).toMatchObject({
      code: 2,
      err: expect.stringContaining('Did you mean convert?'),
    });
  });

  it('an error of a command says where a setting comes from', async () => {
    await writeFile(user, 'username: ci\n');
    expect((await run('ls oci:/x')).err).toContain(`--username from ${user}:1`);
  });
});

describe('variables', () => {
  const known = ['ACCEL_PLATFORM', 'ACCEL_RETRIES', 'ACCEL_ALL', 'ACCEL_AGENT', 'ACCEL_TURBOOCI'];

  it.each([
    ['ACCEL_PLATFROM', 'ACCEL_PLATFORM'],
    ['ACCEL_RETRIE', 'ACCEL_RETRIES'],
    ['ACCEL_TURBO_OCI', 'ACCEL_TURBOOCI'],
    ['ACCEL_CLI', undefined],
    ['ACCEL_FUZZ_SECONDS', undefined],
    // A Service of Kubernetes with the name accel or accel-agent sets these in each container.
    ['ACCEL_AGENT_PORT', undefined],
    ['ACCEL_PORT_443_TCP_ADDR', undefined],
    ['ACCEL_VERSION', undefined],
  ])('%s: %s', (name, meant) => {
    const names = foreignVariables([], { [name]: 'x' });
    expect(misspelledVariables(names, known)).toEqual(
      meant === undefined ? [] : [`${name} is not a variable of accel; did you mean ${meant}?`],
    );
  });

  it('a near miss is a warning, and changes nothing', async () => {
    const { err } = await run('ls oci:/nonexistent', { ACCEL_PLATFROM: 'x', ACCEL_ALGORITHM: 'zstd' });
    expect(err).toContain('warning: ACCEL_PLATFROM is not a variable of accel; did you mean ACCEL_PLATFORM?');
    expect(err).not.toContain('ALGORITHM');
  });
});

it('the keys of a server are those of its configuration', () => {
  expect([...SERVER_KEYS].sort()).toEqual(Object.keys(CONFIG_SCHEMA.shape).sort());
});

it('only the command line reads settings: neither the library nor the Action nor the server', () => {
  const others = listFiles(
    new URL('../..', import.meta.url).pathname,
    [...PRODUCT_ROOMS.filter((room) => room !== 'cli'), 'index.ts'],
    ['.ts'],
  ).filter(({ path }) => !isTest(path) && !path.includes('/testing/'));
  const readers = others.filter(({ text }) => /cli\/(?:settings\/|program|main)/.test(text));
  expect(others.length).toBeGreaterThan(300);
  expect(readers.map(({ path }) => path)).toEqual([]);
});
