import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Argument, Command, Option } from 'commander';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { idleProgram } from '../testing/idle-surroundings.ts';
import { COMBINED_FLAGS } from './combinations.ts';
import { loadSettings } from './load-settings.ts';
import { PROJECT_FLAGS } from './project-keys.ts';
import { commandName, runnableCommands, type Setting, settingsOf } from './setting.ts';

/** The whole tree, in which every command does nothing. */
async function inertProgram(named?: string): Promise<Command> {
  const program = await idleProgram(named);
  for (const command of runnableCommands(program)) command.action(() => undefined);
  return program;
}

/** A folder with a project, a folder below it, and the folders of a user. */
let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'accel-settings-'));
  await mkdir(join(root, 'project', 'below'), { recursive: true });
  await mkdir(join(root, 'config', 'accel'), { recursive: true });
});
afterAll(() => rm(root, { recursive: true }));

/** The places that give values to a call; a file is its text. */
interface Places {
  readonly flags?: readonly string[];
  readonly env?: Record<string, string>;
  readonly project?: string;
  readonly user?: string;
  /** Whether the variable names the project's file. */
  readonly trusted?: boolean;
}

/** The parsed flags of a call, and the values of its settings. */
async function call(name: string, { flags = [], env = {}, project, user, trusted = true }: Places) {
  const files = { project: join(root, 'project', 'accel.yaml'), user: join(root, 'config', 'accel', 'accel.yaml') };
  for (const [path, text] of [
    [files.project, project],
    [files.user, user],
  ] as const) {
    await (text === undefined ? rm(path, { force: true }) : writeFile(path, text));
  }
  const all = {
    HOME: '/nonexistent',
    XDG_CONFIG_HOME: join(root, 'config'),
    ...(trusted && project !== undefined ? { ACCEL_PROJECT_FILE: files.project } : {}),
    ...env,
  };
  const program = await inertProgram(name.split(' ')[0]);
  const command = runnableCommands(program).find((one) => commandName(one) === name)!;
  const loaded = await new Promise<Awaited<ReturnType<typeof loadSettings>>>((resolve, reject) => {
    program.hook('preAction', async (_, called) => {
      const sources = { env: all, cwd: join(root, 'project', 'below'), platform: 'linux' as const };
      await loadSettings(called, { ...sources, off: new Set(), loadProgram: () => inertProgram() }).then(
        resolve,
        reject,
      );
    });
    const operands = command.registeredArguments.filter(({ required }) => required).map(operand);
    program.parseAsync([...name.split(' '), ...flags, ...operands], { from: 'user' }).catch(reject);
  });
  return {
    values: command.optsWithGlobals() as Record<string, unknown>,
    origin: (flag: string) => loaded.values.get(flag)?.origin ?? { kind: 'default' },
    warnings: loaded.warnings,
    files,
  };
}

function operand(argument: Argument): string {
  return argument.argChoices?.[0] ?? 'host.test/app:1';
}

const commands = runnableCommands(await inertProgram());
const every = commands.flatMap((command) =>
  settingsOf(command).map(
    (setting) => [`${commandName(command)} ${setting.flag}`, commandName(command), setting] as const,
  ),
);

/** Texts for flags whose parsers do not take any text. */
const SAMPLES: Readonly<Record<string, readonly string[]>> = {
  '--chunk-size': ['4M', '8M', '16M', '32M'],
  '--min-rate': ['1K', '2K', '3K', '0'],
  '--max-wait': ['1s', '2s', '3s', '4m'],
  '--retries': ['0', '1', '2', '3'],
  '--rate-limit': ['10/s', '20', '0.5/s', '7'],
  '--bandwidth': ['1M', '2M', '3M', '4M/s'],
  '--vsize': ['32', '128', '256', '64G'],
  '--bs': ['8K', '16K', '32', '65536'],
  '--level': ['3', '9', '1', '22'],
  '--span': ['2M', '4M', '8M', '64K'],
  '--max-files': ['10', '20', '30', '40'],
  '--max-layer-size': ['1G', '2G', '3G', '4'],
  '--concurrency-limit': ['1', '2', '3', '64'],
  '--workers': ['1', '2', '3', '0'],
  '--max-memory': ['300M', '400M', '500M', '1G'],
  '--timeout': ['1m', '2m', '3m', '1h30m'],
  '--older-than': ['12h', '1d', '2d', '8w'],
  '--jobs': ['1', '2', '3', '64'],
  '--report': ['junit', 'junit=a', 'junit=b', 'junit=c'],
  '--keep-last': ['1', '2', '3', '4'],
  '--agent': ['127.0.0.1:1', '127.0.0.1:2', 'http://127.0.0.1:3', '[::1]:4'],
  '--listen': ['127.0.0.1:1', '127.0.0.1:2', '127.0.0.1:3', '[::1]:4'],
};

/** Four texts, all different where there are as many. */
function samplesOf({ flag, option, takes }: Setting): readonly string[] {
  if (takes === 'switch') return ['true', 'true', 'true', 'true'];
  if (SAMPLES[flag] !== undefined) return SAMPLES[flag];
  const choices = option.argChoices;
  if (choices !== undefined) {
    const samples = [0, 1, 2, 3].map((at) => choices[at % choices.length]!);
    // The last one is compared with the default.
    return samples[3] === option.defaultValue ? samples.toReversed() : samples;
  }
  const fits = FORMS.find((texts) => texts.every((text) => isAccepted(option, text)));
  if (fits === undefined) throw new Error(`${flag} takes none of the texts here: add some to SAMPLES`);
  return fits;
}

/** Texts that a parser may take. */
const FORMS: readonly (readonly string[])[] = [
  ['/some/a', '/some/b', '/some/c', '/some/d'],
  ['1', '2', '3', '4'],
  ['1M', '2M', '3M', '4M'],
  ['1m', '2m', '3m', '4m'],
];

function isAccepted({ parseArg }: Option, text: string): boolean {
  try {
    parseArg?.(text, undefined);
    return true;
  } catch {
    return false;
  }
}

/** Flags without which another says nothing. */
const COMPANIONS: Readonly<Record<string, readonly string[]>> = {
  '--level': ['--algorithm=zstd'],
  '--password-stdin': ['--username=me'],
  '--prefetch-format': ['--prefetch=list'],
  '--prefetch-strict': ['--prefetch=list'],
  '--exclude': ['--tags=*'],
  '--exclude-repository': ['--tags=*'],
  '--fail-fast': ['--tags=*'],
  '--report': ['--tags=*'],
};

function asFlags({ flag, takes }: Setting, text: string): string[] {
  return takes === 'switch' ? [flag] : [`${flag}=${text}`];
}

describe.each(every)('%s', (_, name, setting) => {
  const [first, second, third, fourth] = samplesOf(setting) as [string, string, string, string];
  const { key, variable, flag } = setting;
  // A bracket begins a list.
  const quoted = (text: string): string => (text.startsWith('[') ? JSON.stringify(text) : text);
  const file = (text: string): string => `${key}: ${quoted(text)}\n`;
  const section = (text: string): string => `commands:\n  ${name}:\n    ${key}: ${quoted(text)}\n`;
  const companions = COMPANIONS[flag] ?? [];
  const given = (places: Places) => call(name, { ...places, flags: [...companions, ...(places.flags ?? [])] });
  const valuesBy = async (text: string) => (await given({ flags: asFlags(setting, text) })).values;

  it('flag, variable, project file, user file, default', async () => {
    const places: Required<Omit<Places, 'trusted'>> = {
      flags: asFlags(setting, first),
      env: { [variable]: second },
      project: file(third),
      user: file(fourth),
    };
    const { env, project, user } = places;
    const byDefault = await given({});
    expect(byDefault.origin(flag)).toEqual({ kind: 'default' });

    const inUser = await given({ user });
    expect(inUser.values).toEqual(await valuesBy(fourth));
    expect(inUser.values).not.toEqual(setting.option.argChoices?.length === 1 ? undefined : byDefault.values);
    expect(inUser.origin(flag)).toEqual({ kind: 'user', file: inUser.files.user, line: 1, column: 1 });

    const inProject = await given({ project, user });
    expect(inProject.values).toEqual(await valuesBy(third));
    expect(inProject.origin(flag)).toEqual({ kind: 'project', file: inProject.files.project, line: 1, column: 1 });

    const byVariable = await given({ env, project, user });
    expect(byVariable.values).toEqual(await valuesBy(second));
    expect(byVariable.origin(flag)).toEqual({ kind: 'variable', variable });

    const byFlag = await given(places);
    expect(byFlag.values).toEqual(await valuesBy(first));
    expect(byFlag.origin(flag)).toEqual({ kind: 'flag' });
  });

  it('the section of the command wins over the key for all', async () => {
    const both = await given({ user: file(first) + section(second) });
    expect(both.values).toEqual(await valuesBy(second));
    expect(both.origin(flag)).toMatchObject({ kind: 'user', line: 4, column: 5 });
  });

  it('the file of a project may set it, or not', async () => {
    const untrusted = given({ project: file(first), trusted: false });
    if (PROJECT_FLAGS.has(flag)) expect((await untrusted).values).toEqual(await valuesBy(first));
    else await expect(untrusted).rejects.toMatchObject({ code: 'usage', where: { line: 1, column: 1 } });
  });
});

it('the flags that a project may set are those that the decision names', () => {
  const flags = [...new Set(every.map(([, , { flag }]) => flag))];
  expect([...PROJECT_FLAGS].filter((flag) => !flags.includes(flag))).toEqual([]);
});

it('a flag that says repeatable is repeatable, and no other is', () => {
  const wrong = every.filter(
    ([, , { repeatable, option }]) => repeatable !== /\(repeatable\)/.test(option.description),
  );
  expect(wrong.map(([title]) => title)).toEqual([]);
});

it('no two flags of a command share a variable or a key', () => {
  for (const command of commands) {
    const settings = settingsOf(command);
    expect(new Set(settings.map(({ variable }) => variable)).size).toBe(settings.length);
    expect(new Set(settings.map(({ key }) => key)).size).toBe(settings.length);
  }
});

/** Right values, apart from what the flags' parsers say. */
describe('values', () => {
  it.each([
    ['bs: 8K', 'bs', 8192],
    ['bs: 8192', 'bs', 8192],
    ['vsize: 0.5', 'vsize', 536_870_912],
    ['timeout: 1h30m', 'timeout', 5_400_000],
    ['noUpload: true', 'upload', false],
    ['noUpload: false', 'upload', true],
    ['force: 1', 'force', true],
    ['platform: linux/amd64', 'platform', ['linux/amd64']],
    ['platform: [linux/amd64, linux/arm64]', 'platform', ['linux/amd64', 'linux/arm64']],
    ['platform: []', 'platform', []],
    ['tags: []', 'tags', undefined],
    ['noPrefetch: true', 'prefetch', false],
    ['noPrefetch: false', 'prefetch', undefined],
  ])('%s', async (user, attribute, expected) => {
    expect((await call('convert', { user: `${user}\n` })).values[attribute]).toEqual(expected);
  });

  it.each([
    ['ACCEL_PLATFORM', 'linux/amd64,linux/arm64', 'platform', ['linux/amd64', 'linux/arm64']],
    ['ACCEL_PLATFORM', ',', 'platform', []],
    ['ACCEL_ROOT_CA', 'a.pem,b.pem', 'rootCa', ['a.pem', 'b.pem']],
    ['ACCEL_ROOT_CA', 'a,b.pem\nc.pem\n', 'rootCa', ['a,b.pem', 'c.pem']],
    ['ACCEL_NO_CACHE', '1', 'cache', false],
    ['ACCEL_NO_CACHE', '0', 'cache', true],
    ['ACCEL_BS', '', 'bs', 32_768],
    ['ACCEL_MKFS', 'yes', 'mkfs', 'yes'],
    ['ACCEL_RATE_LIMIT', '0.5/s', 'rateLimit', 0.5],
    ['ACCEL_BANDWIDTH', '20M', 'bandwidth', 20_971_520],
  ])('%s=%j', async (variable, text, attribute, expected) => {
    expect((await call('convert', { env: { [variable]: text } })).values[attribute]).toEqual(expected);
  });

  it('a path of a file is seen from the folder of the file', async () => {
    const { values } = await call('convert', {
      user: 'rootCa: [ca.pem, /etc/ca.pem]\nclientCert: c.pem:k.pem\nprefetch: "-"\n',
    });
    const folder = join(root, 'config', 'accel');
    expect(values).toMatchObject({
      rootCa: [join(folder, 'ca.pem'), '/etc/ca.pem'],
      clientCert: [`${join(folder, 'c.pem')}:${join(folder, 'k.pem')}`],
      prefetch: '-',
    });
  });
});

describe('flags that exclude each other', () => {
  it.each<[string, Places, Record<string, unknown>]>([
    [
      'quiet wins over a verbose of a file',
      { flags: ['-q'], user: 'verbose: true' },
      { quiet: true, verbose: undefined },
    ],
    [
      'the list wins over a noPrefetch of a file',
      { flags: ['--prefetch', 'a'], user: 'noPrefetch: true' },
      { prefetch: 'a' },
    ],
    ['noPrefetch wins over a list of a file', { flags: ['--no-prefetch'], user: 'prefetch: a' }, { prefetch: false }],
    ['an old name', { flags: ['--turboOCI', 'a'], env: { ACCEL_FASTOCI: 'b' } }, { turboOCI: 'a', fastoci: undefined }],
    ['off beside a lower list', { env: { ACCEL_NO_PREFETCH: 'false' }, user: 'prefetch: /a' }, { prefetch: '/a' }],
    [
      'one image wins over a list of a variable',
      { flags: ['-i', '1'], env: { ACCEL_FROM: 'list' } },
      { from: undefined },
    ],
    [
      'a list wins over a tag of a variable',
      { flags: ['--from', 'a'], env: { ACCEL_INPUT_TAG: '1' } },
      { inputTag: undefined },
    ],
    [
      'a level beside another algorithm',
      { flags: ['--algorithm', 'lz4'], user: 'algorithm: zstd\nlevel: 9' },
      { level: undefined },
    ],
    ['a level of the algorithm', { user: 'algorithm: zstd\nlevel: 9' }, { level: 9 }],
    ['a level of LZ4', { user: 'algorithm: lz4\nlevel: 9' }, { level: 9 }],
    [
      'a level of LZ4 beside zstd',
      { flags: ['--algorithm', 'zstd'], user: 'algorithm: lz4\nlevel: 9' },
      { level: undefined },
    ],
    ['a level alone', { flags: ['--algorithm', 'lz4'], env: { ACCEL_LEVEL: '9' } }, { level: 9 }],
    [
      'a level alone that LZ4 does not have',
      { flags: ['--algorithm', 'lz4'], env: { ACCEL_LEVEL: '19' } },
      { level: undefined },
    ],
    ['a level alone, for zstd', { flags: ['--algorithm', 'zstd'], env: { ACCEL_LEVEL: '19' } }, { level: 19 }],
    ['a report of many images', { env: { ACCEL_REPORT: 'junit' } }, { report: undefined }],
    ['off over on', { env: { ACCEL_FORCE: '0' }, user: 'force: true' }, { force: undefined }],
  ])('%s', async (_, places, expected) => {
    const { values } = await call('convert', places);
    for (const [attribute, value] of Object.entries(expected)) expect(values[attribute]).toEqual(value);
  });

  it.each([
    [{ user: 'algorithm: lz4\nlevel: 2' }, 'the key level has a level that LZ4 does not have'],
    [{ env: { ACCEL_ALGORITHM: 'lz4', ACCEL_LEVEL: '19' } }, 'the environment variable ACCEL_LEVEL has a level'],
  ])('a level that LZ4 does not have, beside LZ4, is refused: %j', async (places, message) => {
    await expect(call('convert', places)).rejects.toThrow(message);
  });

  it('a reference replaces what speaks of another', async () => {
    const env = { ACCEL_REPOSITORY: 'h/a', ACCEL_INPUT_TAG: '1', ACCEL_FROM: 'list', ACCEL_TAGS: '*' };
    const { values } = await call('convert', { flags: ['host.test/app:1'], env });
    for (const name of ['repository', 'inputTag', 'from', 'tags']) expect(values[name]).toBeUndefined();
  });

  it('they exist', () => {
    const flags = new Set(every.map(([, , { flag }]) => flag));
    expect(COMBINED_FLAGS.filter((flag) => !flags.has(flag))).toEqual([]);
  });

  it('a socket beside an address of a file', async () => {
    const { values } = await call('export nbd', { flags: ['--socket', 's'], user: 'listen: 127.0.0.1:1' });
    expect(values).toMatchObject({ socket: 's' });
    expect(values.listen).toBeUndefined();
  });

  it('in one place they are a mistake', async () => {
    await expect(call('convert', { user: 'quiet: true\nverbose: true\n' })).rejects.toMatchObject({
      code: 'usage',
      where: { line: 1 },
      found: expect.stringContaining('--verbose'),
    });
  });
});
