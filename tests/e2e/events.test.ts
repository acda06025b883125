/**
 * A thousand events in any order, most of them more than once, about images in a real registry: what is due is converted
 * once, and nothing is ever made of what was made.
 */
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { chooseOutputs } from '../../cli/output-tags.ts';
import { convert } from '../../converter/convert.ts';
import { DEFAULT_ARTIFACT } from '../../converter/options.ts';
import { buildIndexLayout, buildLayout } from '../../fixtures/image-builder.ts';
import { decideEvent, type EventDecision } from '../../triggers/decide.ts';
import { smallTar } from '../support/converter.ts';
import { eventAbout } from '../support/events.ts';
import { type FaultyProxy, startFaultyProxy } from '../support/faulty-proxy.ts';
import { startRegistry, type TestRegistry } from '../support/registry.ts';
import { listTags } from '../support/registry-store.ts';
import { describeWith, run, withTempDirectory } from '../support/tools.ts';

const EVENTS = 1000;
const ONE_IMAGE = ['1.0', '1.1'];
const AN_INDEX = 'multi';
const BASES = [...ONE_IMAGE, AN_INDEX];

/** Numbers from a seed (mulberry32): the order is the same in each run, and can be had again from its seed. */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

describeWith({ tools: ['docker-registry', 'skopeo'] }, 'a thousand events', () => {
  let registry: TestRegistry;
  let proxy: FaultyProxy;
  beforeAll(async () => {
    registry = await startRegistry();
    proxy = await startFaultyProxy(registry.host);
    await withTempDirectory(async (directory) => {
      const layout = join(directory, 'layout');
      for (const [seed, tag] of ONE_IMAGE.entries()) await buildLayout(layout, tag, [{ tar: smallTar(seed) }]);
      const member = (architecture: string, seed: number) => ({
        layers: [{ tar: smallTar(seed) }],
        options: { platform: { os: 'linux', architecture } },
      });
      await buildIndexLayout(layout, AN_INDEX, [member('amd64', 7), { attestation: true }, member('arm64', 8)]);
      for (const tag of BASES)
        await run('skopeo', [
          'copy',
          '--all',
          '--dest-tls-verify=false',
          `oci:${layout}:${tag}`,
          `docker://${registry.host}/team/app:${tag}`,
        ]);
    });
  });
  afterAll(async () => {
    await proxy?.stop();
    await registry?.stop();
  });

  test('shuffled and repeated, they give the conversions that are due and no more', async () => {
    const repository = `${proxy.host}/team/app`;
    const registryOptions = { plain: true, env: {} };
    const random = randomFrom(20_261);
    const conversions: string[] = [];
    const handle = async (payload: unknown): Promise<EventDecision> => {
      const name = 'registry_package';
      const decision = await decideEvent({ name, payload }, { registry: registryOptions });
      if (decision.event !== 'convert') return decision;
      const { source } = decision;
      const outputs = chooseOutputs({
        ...{ inputTag: source.tag, outputTag: undefined, overlaybd: undefined, turboOci: undefined, mode: undefined },
      });
      const whole = { platforms: [], concurrency: 2, workers: 0, noUpload: false, cache: true, force: false };
      const done = await convert(
        { repository, source, outputs, artifact: DEFAULT_ARTIFACT, ...whole },
        { registry: registryOptions },
      );
      if (done.tags.some(({ upToDate }) => !upToDate)) conversions.push(source.tag ?? '');
      return decision;
    };

    // The events of a push: one for the tag, and one without a tag for each manifest below it.
    const child = { fixture: 'registry-package-child', tag: '' };
    const pushOf = (tag: string) => [
      { fixture: 'registry-package-published', tag },
      { fixture: 'registry-package-updated', tag },
      ...(tag.startsWith(AN_INDEX) ? [child, child] : []),
    ];
    const all = BASES.flatMap((tag) => [tag, `${tag}_accelerated`, `${tag}_containerd_accelerated`]);
    const kinds = [...all, 'accel-cache', `sha256-${'0a'.repeat(32)}`].flatMap(pushOf);
    const reported = new Set<string>();
    const reasons = new Set<string>();
    const before = proxy.passages.length;
    for (let count = 0; count < EVENTS; count++) {
      const { fixture, tag } = kinds[Math.floor(random() * kinds.length)]!;
      const decision = await handle(eventAbout(fixture, repository, tag));
      if (decision.event === 'skipped') reasons.add(decision.code);
      if (decision.event === 'accelerated')
        for (const { tag: done } of decision.tags) reported.add(`${tag} reports ${done}`);
    }

    expect(conversions.sort()).toEqual(BASES);
    const puts = proxy.passages
      .slice(before)
      .filter(({ method, url }) => method === 'PUT' && url.includes('/manifests/'))
      .map(({ url }) => url.slice(url.lastIndexOf('/') + 1));
    const tagged = puts.filter((name) => !name.startsWith('sha256:') && name !== 'accel-cache');
    // Each tag once, and no other; below them a manifest for each platform and mode.
    const accelerated = all.filter((tag) => tag.endsWith('_accelerated'));
    expect(tagged.sort()).toEqual([...accelerated].sort());
    expect(new Set(puts).size + BASES.length - 1).toBe(puts.length);
    expect(await listTags(registry, 'team/app')).toEqual([...all, 'accel-cache'].sort());
    expect([...reported].sort()).toEqual(
      BASES.flatMap((tag) => [`${tag}_accelerated`, `${tag}_containerd_accelerated`])
        .map((done) => `${done.replace('_containerd', '')} reports ${done}`)
        .sort(),
    );
    expect([...reasons].sort()).toEqual(['cache-tag', 'gone', 'referrer-tag', 'reported-with-other', 'untagged']);
  }, 300_000);
});
