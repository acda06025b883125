/** Whole runs of the benchmark at a tiny scale: two commits, substitutes of the whole converters, a picture. */
import { chmod, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { expect, test } from 'vitest';
import { requireBuild } from '../tests/support/accel.ts';
import { describeWith, run, withTempDirectory } from '../tests/support/tools.ts';

const MAIN = join(import.meta.dirname, '../dist/bench/main.js');
const TRIAL = ['--rounds', '1', '--scale', '0.001'];

test('a section that has a picture writes it beside the page and shows it', async () => {
  await requireBuild();
  await withTempDirectory(async (directory) => {
    const page = join(directory, 'page.md');
    const work = ['--dir', join(directory, 'work'), ...TRIAL, '--only', 'one-layer', '--only', 'small-files'];
    const args = [MAIN, ...work, '--mode', 'full', '--mode', 'full, LZ4 4 KiB'];
    await run(process.execPath, [...args, '--write'], { env: { ACCEL_BENCH_PAGE: page } });
    const text = await readFile(page, 'utf8');
    expect([...text.matchAll(/!\[[^\]]+\]\((.+)\)/g)].map(([, path]) => path)).toEqual(['images/bench-one-layer.svg']);
    expect(await readdir(join(directory, 'images'))).toEqual(['bench-one-layer.svg']);
    const svg = await readFile(join(directory, 'images/bench-one-layer.svg'), 'utf8');
    expect([...svg.matchAll(/<rect class="(?:bar|base)"/g)].length).toBe(3 * 4);
    // The table and the picture say the same.
    const [, wall] = /^\| full, LZ4 4 KiB \| (\S+) /m.exec(text)!;
    expect(svg).toContain(`full, LZ4 4 KiB: time, s ${wall};`);
  });
}, 300_000);

describeWith({ tools: ['git'] }, 'two commits', () => {
  test('are built, take turns, and are compared; each round is in the JSON', async () => {
    await requireBuild();
    await withTempDirectory(async (directory) => {
      const work = ['--dir', join(directory, 'work'), ...TRIAL, '--mode', 'index-only'];
      const file = join(directory, 'results.json');
      const args = [MAIN, ...work, '--only', 'one-layer', '--against', 'HEAD', '--json', file];
      const { stdout, stderr } = await run(process.execPath, args);
      const text = stdout.toString('utf8');
      const { stdout: head } = await run('git', ['-C', import.meta.dirname, 'rev-parse', '--short=12', 'HEAD']);
      const commit = head.toString('utf8').trim();
      expect(stderr).toContain(`HEAD: built ${commit}`);
      expect(text).toMatch(new RegExp(`^## One layer of 1\\.1 GB: ${commit}.* against ${commit}$`, 'm'));
      expect(text).toMatch(new RegExp(`^\\| index-only, ${commit} \\| \\d`, 'm'));
      expect(text).toMatch(/^\| index-only, now \| \d/m);
      expect(text).toMatch(/^\* index-only: \d\.\d\d of the wall time, .*; (the same|\*\*other) digests/m);
      const document = JSON.parse(await readFile(file, 'utf8')) as {
        readonly sections: readonly {
          readonly name: string;
          readonly rows: readonly { readonly what: string; readonly rounds: readonly Record<string, number>[] }[];
        }[];
      };
      expect(document).toMatchObject({
        commit,
        rounds: 1,
        scale: 0.001,
        against: 'HEAD',
        machine: { node: process.version },
      });
      const [{ name, rows }] = document.sections as [(typeof document.sections)[0]];
      expect([name, rows.map(({ what }) => what)]).toEqual([
        'one-layer',
        ['node:zlib gunzip', `index-only, ${commit}`, 'index-only, now'],
      ]);
      for (const { rounds } of rows) {
        expect(rounds).toHaveLength(1);
        expect(rounds[0]!.wall).toBeGreaterThan(0);
        expect(rounds[0]!.cpu).toBeGreaterThan(0);
      }
    });
  }, 300_000);

  test('a commit that is not there ends the run with its name', async () => {
    await requireBuild();
    await withTempDirectory(async (directory) => {
      const args = [MAIN, '--dir', join(directory, 'work'), ...TRIAL, '--against', 'no-such-commit'];
      await expect(run(process.execPath, args)).rejects.toThrow('no-such-commit');
    });
  });
});

/** Makes the tag of the output, as the convertor does: the source's manifest with a layer more, and says its arguments. */
const CONVERTOR = `
const { appendFileSync } = require('node:fs');
const args = process.argv.slice(2);
appendFileSync(process.env.CALLS_LOG, JSON.stringify(['convertor', ...args]) + '\\n');
const after = (flag) => args[args.indexOf(flag) + 1];
const [host, name] = after('-r').split('/');
const url = (tag) => 'http://' + host + '/v2/' + name + '/manifests/' + tag;
const type = 'application/vnd.oci.image.manifest.v1+json';
const tags = ['--overlaybd', '--turboOCI'].filter((flag) => args.includes(flag)).map(after);
(async () => {
  for (const tag of tags) {
    const manifest = await (await fetch(url(after('-i')), { headers: { accept: type } })).json();
    const start = await fetch('http://' + host + '/v2/' + name + '/blobs/uploads/', { method: 'POST' });
    const bytes = Buffer.alloc(100_000, tag);
    const digest = 'sha256:' + require('node:crypto').createHash('sha256').update(bytes).digest('hex');
    const place = new URL(start.headers.get('location'), url(tag));
    place.searchParams.set('digest', digest);
    const put = await fetch(place, { method: 'PUT', body: bytes, headers: { 'content-type': 'application/octet-stream' } });
    if (!put.ok) throw new Error('blob ' + put.status);
    manifest.layers.push({ mediaType: 'application/octet-stream', digest, size: bytes.length });
    const done = await fetch(url(tag), { method: 'PUT', body: JSON.stringify(manifest), headers: { 'content-type': type } });
    if (!done.ok) throw new Error('manifest ' + done.status);
  }
})();
`;
/** Copies the layout, as it is asked to, and says its arguments. */
const SOCI = `
const { appendFileSync, cpSync } = require('node:fs');
const args = process.argv.slice(2);
appendFileSync(process.env.CALLS_LOG, JSON.stringify(['soci', ...args]) + '\\n');
cpSync(args.at(-2), args.at(-1), { recursive: true });
`;

describeWith({ tools: ['docker-registry', 'skopeo'] }, 'whole converters', () => {
  /** Runs the scenario with these programs before all others on PATH. */
  async function compare(directory: string, programs: Readonly<Record<string, string>>, modes: readonly string[]) {
    const bin = join(directory, 'bin');
    await mkdir(bin, { recursive: true });
    for (const [name, script] of Object.entries(programs)) {
      await writeFile(join(bin, name), `#!${process.execPath}\n${script}`);
      await chmod(join(bin, name), 0o755);
    }
    const log = join(directory, 'log');
    await writeFile(log, '');
    const env = {
      PATH: `${bin}${delimiter}${process.env.PATH}`,
      OVERLAYBD_CREATE: '/nowhere',
      CALLS_LOG: log,
    };
    const work = ['--dir', join(directory, 'work'), ...TRIAL, '--only', 'reference'];
    const args = [MAIN, ...work, ...modes.flatMap((mode) => ['--mode', mode])];
    const { stdout, stderr } = await run(process.execPath, args, { env });
    const calls = (await readFile(log, 'utf8')).trim().split('\n');
    return {
      text: stdout.toString('utf8'),
      stderr,
      calls: calls.filter((line) => line !== '').map((line) => JSON.parse(line) as string[]),
    };
  }

  test('those on PATH run beside accel, each in its own repository; a failure and what is missing are named', async () => {
    await requireBuild();
    await withTempDirectory(async (directory) => {
      const { text, calls } = await compare(
        directory,
        {
          convertor: CONVERTOR,
          soci: SOCI,
          nydusify: "console.error('no space for it'); process.exit(3);",
          'nydus-image': '',
        },
        ['full', 'both'],
      );
      const rows = [...text.matchAll(/^\| ([a-z][^|]*) \| (\S+)/gm)].map(([, what]) => what);
      expect(rows.filter((what) => what !== 'what')).toEqual([
        'node:zlib gunzip',
        'accel, registry: full',
        'accel, registry: both',
        'convertor full',
        'convertor both',
        'soci, with skopeo',
        'nydusify',
      ]);
      for (const what of ['accel, registry: full', 'convertor full', 'soci, with skopeo'])
        expect(text).toMatch(new RegExp(`^\\| ${what} \\| \\d+\\.\\d\\d \\(.*\\) \\| \\d`, 'm'));
      // Bytes that the new tags name: 100 kB each of the substitute, in MB; the copy adds none.
      expect(text).toMatch(/^\| convertor full \|.*\| 0\.1 \| [1-9]/m);
      expect(text).toMatch(/^\| convertor both \|.*\| 0\.2 \| [1-9]/m);
      expect(text).toMatch(/^\| soci, with skopeo \|.*\| 0\.0 \| 0\.0 \|$/m);
      expect(text).toMatch(/^\| nydusify \| \*\*failed\*\* \|/m);
      expect(text).toMatch(/^\* nydusify: .*nydusify convert .*: exit 3: no space for it$/m);
      expect(text).toMatch(/^Not found on this machine: overlaybd-create/m);
      const [full, both, soci] = calls as [string[], string[], string[]];
      const repository = (call: string[]) => call[call.indexOf('-r') + 1];
      expect(full.slice(3, 8)).toEqual(['--plain', '-i', 'latest', '--overlaybd', 'whole_full']);
      expect(both.slice(6, 10)).toEqual(['--overlaybd', 'whole_full', '--turboOCI', 'whole_index']);
      expect(repository(full)).toMatch(/^127\.0\.0\.1:\d+\/whole-\d+$/);
      expect(repository(both)).not.toBe(repository(full));
      expect(soci.slice(0, 5)).toEqual(['soci', 'convert', '--standalone', '--format', 'oci-dir']);
      expect((await readdir(join(directory, 'work'))).filter((name) => name.includes('whole'))).toEqual([]);
    });
  }, 300_000);

  test('a tool without a program that it needs is left out by name, and one that makes no tag has failed', async () => {
    await requireBuild();
    await withTempDirectory(async (directory) => {
      const { text } = await compare(directory, { convertor: '', nydusify: '' }, ['index-only']);
      expect(text).toMatch(/^\| convertor index-only \| \*\*failed\*\*/m);
      expect(text).toMatch(
        /^\* convertor index-only: it ended well, but the registry answers 404 for its whole_index$/m,
      );
      expect(text).not.toMatch(/^\| nydusify/m);
      expect(text).toMatch(/^Not found on this machine: .*soci, nydus-image \(for nydusify\)\.$/m);
    });
  }, 300_000);
});
