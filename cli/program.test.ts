import { describe, expect, it } from 'vitest';
import { AccelError } from '../base/error.ts';
import type { ConvertRequest } from '../converter/options.ts';
import type { Converter } from './context.ts';
import { runProgram } from './program.ts';
import { captured, sampleDigest, sampleEvents, sampleResult } from './testing/sample.ts';

/** Runs a command line against a conversion that is made up, and keeps what it was asked for. */
async function run(line: string, options: { convert?: Converter['convert']; stdin?: string; abort?: boolean } = {}) {
  const stdout = captured();
  const stderr = captured();
  const asked: { request?: ConvertRequest; registry?: unknown } = {};
  const controller = new AbortController();
  const convert: Converter['convert'] = async (request, context) => {
    const { warn: _warn, env: _env, ...registry } = context.registry ?? {};
    Object.assign(asked, { request, registry });
    for (const event of sampleEvents()) context.onEvent?.(event);
    return sampleResult(request);
  };
  async function* stdin() {
    yield options.stdin ?? '';
  }
  if (options.abort === true) controller.abort();
  const code = await runProgram(line === '' ? [] : line.split(' '), {
    stdout,
    stderr,
    stdin: stdin(),
    env: {},
    signal: controller.signal,
    loadConverter: async () => ({
      convert: options.convert ?? convert,
      planConversion: () => Promise.reject(new Error('no plan was asked for')),
    }),
  });
  return { code, out: stdout.text, err: stderr.text, ...asked };
}

describe('accel convert', () => {
  it('asks for both tags by default', async () => {
    const { code, request, registry } = await run('convert -r host/app -i 1.2');
    expect(code).toBe(0);
    expect(request).toEqual({
      repository: 'host/app',
      source: { tag: '1.2' },
      outputs: [
        { tag: '1.2_accelerated', kind: 'full' },
        { tag: '1.2_containerd_accelerated', kind: 'containerd' },
      ],
      artifact: {
        algorithm: 'zstd',
        blockSize: 32_768,
        span: 2 ** 20,
        oci: false,
        referrer: false,
        maxFiles: 1_000_000,
        maxLayerSize: 2 ** 38,
      },
      platforms: [],
      concurrency: 4,
      workers: expect.any(Number),
      maxMemory: 2 ** 29,
      noUpload: false,
      cache: true,
      force: false,
    });
    expect(registry).toEqual({});
  });

  it('passes every flag on', async () => {
    const line =
      'convert -r oci:dir -g sha256:00 -o out --mode index-only -u ci:pw --plain --insecure --root-ca ca --cert-dir d ' +
      '--client-cert c:k --oci --vsize 128 --algorithm zstd --bs 64 --level 9 --span 2M --platform linux/amd64 --platform linux/arm64 ' +
      '--concurrency-limit 2 --workers 0 --max-memory 1G --max-files 5 --max-layer-size 512G -d /var/tmp --no-upload --force --fstype ext4';
    const { request, registry } = await run(line);
    expect(request).toEqual({
      repository: 'oci:dir',
      source: { digest: 'sha256:00' },
      outputs: [{ tag: 'out', kind: 'index-only' }],
      artifact: {
        virtualSize: 2 ** 37,
        algorithm: 'zstd',
        blockSize: 65_536,
        level: 9,
        span: 2 ** 21,
        oci: true,
        referrer: false,
        maxFiles: 5,
        maxLayerSize: 2 ** 39,
      },
      platforms: ['linux/amd64', 'linux/arm64'],
      concurrency: 2,
      workers: 0,
      maxMemory: 2 ** 30,
      noUpload: true,
      cache: true,
      force: true,
      workDirectory: '/var/tmp',
    });
    expect(registry).toEqual({
      username: 'ci',
      password: 'pw',
      credentialsFrom: '-u',
      plain: true,
      insecure: true,
      rootCa: ['ca'],
      certDir: ['d'],
      clientCert: ['c:k'],
    });
  });

  it.each([
    ['--fastoci t', [{ tag: 't', kind: 'index-only' }]],
    [
      '--overlaybd a --turboOCI b',
      [
        { tag: 'a', kind: 'full' },
        { tag: 'b', kind: 'index-only' },
      ],
    ],
  ])('knows the reference convertor: %s', async (flags, outputs) => {
    expect((await run(`convert -r host/app -i 1 ${flags}`)).request?.outputs).toEqual(outputs);
  });

  it('warns of flags without effect, never silently', async () => {
    const { code, err } = await run(
      'convert -r h/a -i 1 --mkfs=true --db-str dsn --db-type mysql --reserve --disable-sparse',
    );
    expect(code).toBe(0);
    expect(err.match(/^warning: --\S+ has no effect: /gm)).toHaveLength(5);
  });

  it('takes --flag=true and --flag=false', async () => {
    const { request } = await run('convert -r h/a -i 1 --oci=true --force=false');
    expect(request).toMatchObject({ artifact: { oci: true }, force: false });
  });

  it('takes the digest from -g and the name from -i', async () => {
    const { request } = await run('convert -r h/a -i 1 -g sha256:00');
    expect(request).toMatchObject({ source: { digest: 'sha256:00' }, outputs: [{ tag: '1_accelerated' }, {}] });
  });

  it('takes a reference in place of -r and -i', async () => {
    const { code, request } = await run('convert host:5000/app:1.2 -o x');
    expect(code).toBe(0);
    expect(request).toMatchObject({
      repository: 'host:5000/app',
      source: { tag: '1.2' },
      outputs: [{ tag: 'x', kind: 'full' }],
    });
  });

  it('takes sizes with units', async () => {
    const { request } = await run(
      'convert h/a:1 --vsize 128G --bs 64K --span 2MiB --max-memory 1GB --max-layer-size 1T',
    );
    expect(request).toMatchObject({
      artifact: { virtualSize: 2 ** 37, blockSize: 65_536, span: 2 ** 21, maxLayerSize: 2 ** 40 },
      maxMemory: 2 ** 30,
    });
  });

  it('reads the password from standard input', async () => {
    const { registry } = await run('convert -r h/a -i 1 -u ci --password-stdin', { stdin: 'secret\n' });
    expect(registry).toEqual({ username: 'ci', password: 'secret', credentialsFrom: '-u and --password-stdin' });
  });
});

describe('output', () => {
  it('the result goes to standard output, the log to standard error', async () => {
    const { out, err } = await run('convert -r h/a -i 1');
    expect(out).toContain('h/a:1_accelerated\n');
    expect(out).not.toContain('tagged');
    expect(err).toContain('tagged 1_accelerated');
  });

  it('--quiet: the references, and warnings on standard error', async () => {
    const { out, err } = await run('convert -r h/a -i 1 -o x --quiet --reserve');
    expect(out).toBe(`h/a:x@${sampleDigest('9')}\n`);
    expect(err.split('\n')).toEqual([
      expect.stringMatching(/^warning: --reserve has no effect/),
      expect.stringMatching(/^warning: .*left out/),
      '',
    ]);
  });

  it('--json: one document on standard output', async () => {
    const { out, err } = await run('convert -r h/a -i 1 --json');
    const document = JSON.parse(out);
    expect(document).toMatchObject({ formatVersion: 1, repository: 'h/a', tags: [{ ratio: 1.25 }, {}] });
    expect(document.tags[0].reference).toBe(`h/a:1_accelerated@${sampleDigest('9')}`);
    expect(document.tags[0].manifests[0]).not.toHaveProperty('manifest');
    // The warning of the conversion, and no word of its progress.
    expect(err).toMatch(/^warning: [^\n]*left out[^\n]*\n$/);
    expect((await run('convert -r h/a -i 1 --json --verbose')).err).toContain('tagged');
  });

  it('--json --dump-manifest: with the manifests', async () => {
    const { out } = await run('convert -r h/a -i 1 --json --dump-manifest');
    expect(JSON.parse(out).tags[0].manifests[0].manifest).toEqual({ schemaVersion: 2, kind: 'full' });
  });

  it('--dump-manifest: the manifests on standard output, the summary on standard error', async () => {
    const { out, err } = await run('convert -r h/a -i 1 -o x --dump-manifest');
    expect(JSON.parse(out)).toEqual({ schemaVersion: 2, kind: 'full' });
    expect(err).toContain('converted and pushed');
  });

  it('an error in --json is a document too', async () => {
    const { code, out, err } = await run('convert -r h/a --json');
    expect(code).toBe(2);
    expect(JSON.parse(out)).toMatchObject({ error: { code: 'usage' }, exitCode: 2 });
    expect(err).toContain('error [usage]');
  });
});

describe('usage', () => {
  it.each([
    ['a mistyped flag', 'convert -r h/a -i 1 --platfrom linux/amd64', 'Did you mean --platform?'],
    ['a mistyped flag, even alone', 'convert --repositry h/a', 'Did you mean --repository?'],
    ['a mistyped command', 'covnert', 'Did you mean convert?'],
    ['no repository', 'convert -i 1', 'HOST/NAME:TAG'],
    ['a reference and flags that say the same', 'convert h/a:1 -i 1', 'Leave -i out'],
    ['no image', 'convert -r h/a -o x', '-i TAG'],
    ['a digest without a name', 'convert -r h/a -g sha256:00', '-o TAG'],
    ['another file system', 'convert -r h/a -i 1 --fstype erofs', 'ext4'],
    ['another mode', 'convert -r h/a -i 1 --mode both', 'index-only'],
    ['an odd block size', 'convert -r h/a -i 1 --bs 5', 'power of two'],
    ['a level that LZ4 does not have', 'convert -r h/a -i 1 --algorithm lz4 --level 13', 'add --algorithm zstd'],
    ['a level below those of LZ4', 'convert -r h/a -i 1 --algorithm lz4 --level 2', 'Leave it out'],
    ['quiet and verbose', 'convert -r h/a -i 1 --quiet --verbose', 'Choose one'],
    ['a value that is missing', 'convert -r', 'argument missing'],
    ['too many words', 'convert h/a:1 more', 'too many arguments'],
    ['two names of one flag', 'convert -r h/a -i 1 --turboOCI a --fastoci b', 'Leave --fastoci out'],
    ['a tag that grows too long', `convert -r h/a -i ${'x'.repeat(110)}`, '128'],
  ])('%s', async (_, line, words) => {
    const { code, out, err, request } = await run(line);
    expect(code).toBe(2);
    expect(err).toContain(words);
    expect(out).toBe('');
    expect(request).toBeUndefined();
  });

  it.each(['--help', 'convert --help', 'help convert'])('%s ends with examples', async (line) => {
    const { code, out, err } = await run(line);
    expect(code).toBe(0);
    expect(out).toMatch(/\nExamples:\n[\s\S]*\$ accel convert [^\n]*\n+$/);
    expect(err).toBe('');
  });

  it('no command: the help, as an error', async () => {
    const { code, out, err } = await run('');
    expect(code).toBe(2);
    expect(out).toBe('');
    expect(err).toContain('Usage: accel');
  });

  it('version: accel, Node.js and the system', async () => {
    const { code, out } = await run('version');
    expect(code).toBe(0);
    expect(out).toMatch(/^accel \d+\.\d+\.\d+\nNode\.js \d+\.\d+\.\d+ on \w+ \w+\n$/);
  });

  it('--version', async () => {
    const { code, out } = await run('--version');
    expect(code).toBe(0);
    expect(out).toMatch(/^\d+\.\d+\.\d+\n$/);
  });
});

describe('failures', () => {
  const failing =
    (error: unknown): Converter['convert'] =>
    async () => {
      throw error;
    };

  it.each([
    ['unauthorized', 4],
    ['layer-unsupported', 3],
    ['not-found', 1],
    ['verification-failed', 5],
  ] as const)('%s exits %d', async (code, exit) => {
    const result = await run('convert -r h/a -i 1', { convert: failing(new AccelError(code, 'went wrong')) });
    expect(result.code).toBe(exit);
    expect(result.err).toContain(`error [${code}] went wrong`);
    expect(result.out).toBe('');
  });

  it('a defect exits 1 and asks for a report, with the stack when verbose', async () => {
    const convert = failing(new TypeError('x is not a function'));
    expect(await run('convert -r h/a -i 1', { convert })).toMatchObject({
      code: 1,
      err: expect.stringContaining('defect'),
    });
    expect((await run('convert -r h/a -i 1 --verbose', { convert })).err).toContain('program.test.ts');
  });

  it('whatever breaks after an interrupt is the interrupt', async () => {
    const convert = failing(new AccelError('registry-unreachable', 'socket closed'));
    const result = await run('convert -r h/a -i 1', { convert, abort: true });
    expect(result.code).toBe(130);
    expect(result.err).toContain('error [aborted]');
  });
});

describe('accel export', () => {
  it.each([
    ['export', 'accel export needs a subcommand'],
    ['export nbdd oci:x', 'Did you mean nbd'],
    ['export nbd', "missing required argument 'ref'"],
    ['export raw oci:x', "missing required argument 'file'"],
    ['export nbd oci:x --listen here', '--listen does not take this value'],
    ['export nbd oci:x --listen h:1 --socket s', 'cannot be used with'],
  ])('%s is a mistake that is explained', async (line, message) => {
    const { code, err, out } = await run(line);
    expect([code, out]).toEqual([2, '']);
    expect(err).toContain(message);
  });

  it('takes the flags of its own commands with =true and =false', async () => {
    const { code, err } = await run('export nbd oci:/nonexistent --quiet=true --plain=false');
    expect([code, err]).toEqual([1, expect.stringContaining('not-found')]);
  });
});
