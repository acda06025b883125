/** Prefetch lists by the command line: onto images in a registry and in a layout, and what foreign tools say of them. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { buildLayout } from '../../fixtures/image-builder.ts';
import { accel, convert } from '../support/accel.ts';
import { NOT_UTF8, prefetchLayers } from '../support/prefetch-image.ts';
import { startRegistry, type TestRegistry } from '../support/registry.ts';
import { describeWith, run, type TempDirectory, tempDirectory } from '../support/tools.ts';

interface Shown {
  readonly prefetch?: {
    readonly form: string;
    readonly entries: number;
    readonly bytes: number;
    readonly fetched: number;
  };
  readonly lines?: readonly string[];
}

describeWith({ tools: ['docker-registry', 'skopeo', 'debugfs', 'e2fsck', 'tar'] }, 'accel prefetch', () => {
  let scratch: TempDirectory;
  let registry: TestRegistry;
  let layout: string;
  let repository: string;
  beforeAll(async () => {
    scratch = await tempDirectory();
    registry = await startRegistry();
    layout = join(scratch.path, 'layout');
    repository = `${registry.host}/team/app`;
    await buildLayout(layout, 'base', prefetchLayers(), { config: { Entrypoint: ['/bin/app'] } });
    const source = `oci:${layout}:base`;
    await run('skopeo', ['copy', '-q', '--dest-tls-verify=false', source, `docker://${repository}:base`]);
  });
  afterAll(async () => {
    await registry?.stop();
    await scratch?.remove();
  });

  async function ok(args: readonly string[], input?: string): Promise<{ stdout: string; stderr: string }> {
    const result = await accel(args, input === undefined ? {} : { input });
    if (result.exitCode !== 0) throw new Error(`accel ${args.join(' ')}: exit ${result.exitCode}\n${result.stderr}`);
    return result;
  }

  async function show(reference: string): Promise<Shown> {
    const flags = reference.startsWith('oci:') ? [] : ['--plain'];
    return JSON.parse((await ok(['prefetch', 'show', '--json', ...flags, reference])).stdout) as Shown;
  }

  test('convert takes a list from a file, from standard input and by path; skopeo takes the images', async () => {
    const file = join(scratch.path, 'list.txt');
    await writeFile(file, Buffer.concat([Buffer.from('# names\n\n/'), NOT_UTF8, Buffer.from('\r\n/opt/a b\n')]));
    const common = ['-r', repository, '-i', 'base', '--plain', '--workers', '0'];
    const made = await convert([...common, '--prefetch', file, '--prefetch-path', '/srv/d*']);
    expect(made.warnings.filter((warning) => warning.includes('prefetch line'))).toHaveLength(2);
    const full = await show(`${repository}:base_accelerated`);
    expect(full.prefetch?.form).toBe('trace');
    expect(full.prefetch?.fetched).toBeGreaterThan(1_500_000);
    expect((await show(`${repository}:base_containerd_accelerated`)).lines).toEqual(['/srv/data']);
    const copied = join(scratch.path, 'copied');
    for (const tag of ['base_accelerated', 'base_containerd_accelerated'])
      await run('skopeo', [
        'copy',
        '-q',
        '--src-tls-verify=false',
        `docker://${repository}:${tag}`,
        `oci:${copied}:${tag}`,
      ]);
    const again = await accel(['convert', ...common, '--prefetch', '-', '--json'], { input: '/srv/data\n' });
    expect([again.exitCode, again.stderr.match(/warning/g)]).toEqual([0, null]);
    const verified = await ok(['verify', '--plain', `${repository}:base_accelerated`]);
    expect(verified.stdout).toContain('identical');
    const plan = await ok(['convert', ...common, '--prefetch', file, '--dry-run']);
    expect(plan.stdout).toContain('from 2 lines to prefetch');
  });

  test('a recorded list is put on, shown, read back and replaced; what the image shows stays the same', async () => {
    const common = ['-r', `oci:${layout}`, '-i', 'base', '--workers', '0', '--vsize', '0.125'];
    await convert(common);
    const reference = `oci:${layout}:base_accelerated`;
    const listing = await ok(['ls', '-lR', reference]);
    const image = join(scratch.path, 'plain.img');
    await ok(['export', 'raw', reference, image]);
    const recorded = await ok(['prefetch', 'record', reference]);
    expect(recorded.stdout).toBe('# script /bin/app\n/usr/bin/app\n');
    await ok(['prefetch', 'add', reference, '-'], recorded.stdout);
    const raw = await ok(['prefetch', 'show', '--raw', '-q', reference]);
    expect(raw.stdout.length).toBeGreaterThan(24);
    expect((await ok(['ls', '-lR', reference])).stdout).toBe(listing.stdout);
    const other = join(scratch.path, 'other.img');
    await ok(['export', 'raw', reference, other]);
    await run('cmp', [image, other]);
    await run('e2fsck', ['-fn', other]);
    expect((await ok(['verify', reference])).stdout).toContain('identical');
    const trace = join(scratch.path, 'trace');
    await mkdir(join(scratch.path, 'layer'));
    await ok(['prefetch', 'add', '--json', reference, '-'], '/srv/data\n');
    const manifest = await topLayer(layout, 'base_accelerated');
    await run('tar', ['-xzf', manifest, '-C', join(scratch.path, 'layer')]);
    await writeFile(trace, await readFile(join(scratch.path, 'layer', 'trace')));
    const back = await ok(['prefetch', 'record', '--no-config', '--from', trace, reference]);
    // The first of the names that the file has.
    expect(back.stdout).toBe('# trace\n/srv/again\n');
    // debugfs names the same blocks of the device.
    const { stdout } = await run('debugfs', ['-R', 'blocks /srv/data', other]);
    expect(stdout.toString().trim().split(/\s+/)).toHaveLength(Math.ceil(1_500_000 / 4096));
  });

  test.each([
    [['convert', '-r', 'oci:.', '-i', 'base', '--prefetch-strict'], 2, 'there is no prefetch list'],
    [['convert', '-r', 'oci:.', '-i', 'base', '--prefetch-path', 'usr'], 2, 'is no absolute path'],
    [['convert', '-r', 'oci:.', '-i', 'base', '--prefetch', '/absent/list'], 1, 'ENOENT'],
    [['convert', '-r', 'oci:.', '-i', 'base', '--prefetch', '-', '-u', 'me', '--password-stdin'], 2, 'standard input'],
    [['prefetch', 'record', '--no-config', 'oci:.:base'], 2, 'nothing to make a list from'],
    [['prefetch', 'show', 'oci:.:base'], 3, 'not an accelerated image'],
    [['prefetch', 'add', 'oci:.:base', '-'], 3, 'not an accelerated image'],
  ])('%j is exit %i', async (args, exitCode, text) => {
    const result = await accel(
      args.map((arg) => arg.replace('oci:.', `oci:${layout}`)),
      { input: '/a\n' },
    );
    expect([result.exitCode, result.stderr]).toEqual([exitCode, expect.stringContaining(text)]);
  });
});

/** The file of the topmost layer's blob. */
async function topLayer(layout: string, tag: string): Promise<string> {
  const json = async (path: string) => JSON.parse(await readFile(path, 'utf8')) as unknown;
  const blob = (digest: string) => join(layout, 'blobs', ...digest.split(':'));
  const index = (await json(join(layout, 'index.json'))) as {
    manifests: { digest: string; annotations?: Record<string, string> }[];
  };
  const named = index.manifests.find(({ annotations }) => annotations?.['org.opencontainers.image.ref.name'] === tag);
  const { layers } = (await json(blob(named!.digest))) as { layers: { digest: string }[] };
  return blob(layers.at(-1)!.digest);
}
