/** Tries answers on a real registry, asked through a proxy that counts and fails. */
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { convert } from '../../../converter/convert.ts';
import { buildLayout } from '../../../fixtures/image-builder.ts';
import { smallTar } from '../../../tests/support/converter.ts';
import { type FaultyProxy, startFaultyProxy } from '../../../tests/support/faulty-proxy.ts';
import { startRegistry, type TestRegistry } from '../../../tests/support/registry.ts';
import { describeWith, run, type TempDirectory, tempDirectory } from '../../../tests/support/tools.ts';
import { parseImageName } from '../rewrite/image-name.ts';
import { eventually } from '../testing/kube-cluster.ts';
import { AcceleratedImages } from './accelerated-images.ts';
import { ConversionFinder } from './find-conversion.ts';
import { RegistryPools } from './registry-pools.ts';

const SUFFIXES = ['_containerd_accelerated', '_accelerated'];

describeWith({ tools: ['docker-registry', 'skopeo'] }, 'answers about accelerated images', () => {
  let registry: TestRegistry;
  let proxy: FaultyProxy;
  let folder: TempDirectory;
  let fails = false;
  let time = 0;
  let outcomes: string[];
  let images: AcceleratedImages;

  beforeAll(async () => {
    registry = await startRegistry();
    folder = await tempDirectory();
    proxy = await startFaultyProxy(registry.host, () => (fails ? 'unavailable' : undefined));
    for (const seed of [1, 2]) await buildLayout(join(folder.path, String(seed)), 'latest', [{ tar: smallTar(seed) }]);
  });
  beforeEach(() => {
    [fails, time, outcomes] = [false, 0, []];
    images = answering();
    proxy.clear();
  });
  afterAll(async () => {
    images?.close();
    await proxy?.stop();
    await registry?.stop();
    await folder?.remove();
  });

  const answering = () =>
    new AcceleratedImages({
      pools: new RegistryPools([{ host: proxy.host, plain: true }]),
      finder: new ConversionFinder(SUFFIXES),
      staleness: 30_000,
      now: () => time,
      onLookup: (outcome) => outcomes.push(outcome),
    });
  const push = async (seed: number, name: string) => {
    const layout = `oci:${join(folder.path, String(seed))}:latest`;
    await run('skopeo', ['copy', '--dest-tls-verify=false', layout, `docker://${registry.host}/${name}`]);
  };
  const convertTag = (repository: string, tag: string, referrer = false) =>
    convert(
      { repository: `${registry.host}/${repository}`, source: { tag }, workers: 0, artifact: { referrer } },
      { registry: { plain: true } },
    );
  const find = (name: string, signal = AbortSignal.timeout(20_000)) =>
    images.find(parseImageName(`${proxy.host}/${name}`)!, signal);
  const gets = () => proxy.passages.filter(({ method }) => method === 'GET').length;

  it('come from memory, and follow a tag that moves within the bound', async () => {
    await push(1, 'moves:1');
    await convertTag('moves', '1');
    const first = await find('moves:1');
    expect(first).toMatchObject({ tag: '1_containerd_accelerated' });
    const asked = proxy.passages.length;
    expect(await find('moves:1')).toEqual(first);
    expect(proxy.passages.length).toBe(asked);
    await push(2, 'moves:1');
    time = 14_000;
    expect(await find('moves:1')).toEqual(first);
    expect(outcomes).toEqual(['found']);
    // In the second half of its time an answer is renewed while it still counts.
    time = 16_000;
    expect(await find('moves:1')).toEqual(first);
    await eventually(async () => outcomes.length === 2);
    expect(await find('moves:1')).toBe('outdated-accelerated-image');
    // Nothing used it meanwhile: the next one waits for the registry.
    await convertTag('moves', '1');
    time = 50_000;
    expect(await find('moves:1')).toMatchObject({ tag: '1_containerd_accelerated' });
  });

  it('ask the registry once for many pods', async () => {
    await push(1, 'many:1');
    await convertTag('many', '1');
    const answers = await Promise.all(Array.from({ length: 50 }, () => find('many:1')));
    expect(new Set(answers.map((answer) => JSON.stringify(answer))).size).toBe(1);
    expect(outcomes).toEqual(['found']);
    // Three tags; each accelerated manifest once.
    expect(gets()).toBeLessThanOrEqual(4);
  });

  it.each([
    ['missing:1', 'missing-image'],
    ['plain:1', 'no-accelerated-image'],
    ['foreign:1', 'unproven-accelerated-image'],
  ])('%s: %s', async (name, expected) => {
    await push(1, 'plain:1');
    await push(1, 'foreign:1');
    await push(2, 'foreign:1_accelerated');
    expect(await find(name)).toBe(expected);
  });

  it('prefer the first suffix, and take the second where only that is of the present image', async () => {
    await push(1, 'order:1');
    await convertTag('order', '1');
    const { stdout } = await run('skopeo', [
      'inspect',
      '--tls-verify=false',
      '--format',
      '{{.Digest}}',
      `docker://${registry.host}/order:1_accelerated`,
    ]);
    await push(2, 'order:1_containerd_accelerated');
    expect(await find('order:1')).toEqual({ tag: '1_accelerated', digest: stdout.toString('utf8').trim() });
  });

  it('find a digest by its tag, by a referrer, and among the tags of the repository', async () => {
    const digestOf = async (name: string) => {
      const args = ['inspect', '--tls-verify=false', '--format', '{{.Digest}}', `docker://${registry.host}/${name}`];
      return (await run('skopeo', args)).stdout.toString('utf8').trim();
    };
    await push(1, 'digest:1');
    const digest = await digestOf('digest:1');
    expect(await find(`digest@${digest}`)).toBe('no-accelerated-image');
    await convertTag('digest', '1');
    time = 60_000;
    const accelerated = { tag: '1_containerd_accelerated', digest: await digestOf('digest:1_containerd_accelerated') };
    expect(await find(`digest@${digest}`)).toEqual(accelerated);
    expect(await find(`digest:1@${digest}`)).toEqual(accelerated);
    // The tag is of another image now; the digest is still that of the conversion.
    expect(await find(`digest:other@${digest}`)).toEqual(accelerated);
    await push(1, 'referred:1');
    await convertTag('referred', '1', true);
    const referrer = { digest: await digestOf('referred:1_containerd_accelerated') };
    const full = { digest: await digestOf('referred:1_accelerated') };
    expect([referrer, full]).toContainEqual(await find(`referred@${digest}`));
  });

  it('do not ask a registry that fails, for a while', async () => {
    fails = true;
    expect(await find('down:1')).toBe('registry-unreachable');
    const asked = proxy.passages.length;
    expect(await find('down:2')).toBe('registry-unreachable');
    expect(proxy.passages.length).toBe(asked);
    fails = false;
    time = 5_000;
    expect(await find('down:2')).toBe('missing-image');
  });

  it('are late when the caller has no more time', async () => {
    expect(await find('late:1', AbortSignal.abort())).toBe('timed-out');
    await eventually(async () => outcomes.length === 1);
  });
});
