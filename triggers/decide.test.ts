/** Decisions about the content of a layout: the same code as for a registry. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bytesSource } from '../base/byte-source.ts';
import { digestOf } from '../oci/digest.ts';
import { openLayout } from '../oci/layout-target.ts';
import { encodeJson } from '../oci/manifest.ts';
import { OCI } from '../oci/media-types.ts';
import { BOTH, convertWithin, request, smallTar, type TestLayout, testLayout } from '../tests/support/converter.ts';
import { eventFixture } from '../tests/support/events.ts';
import { decideEvent, decideImage, type EventDecision } from './decide.ts';

let layout: TestLayout;
let repository: string;

beforeAll(async () => {
  layout = await testLayout([{ tar: smallTar(1) }]);
  repository = `oci:${layout.directory}`;
  await convertWithin(layout.target, request({ outputs: BOTH }));
  const alone = [{ tag: 'alone_containerd_accelerated', kind: 'containerd' }] as const;
  await convertWithin(layout.target, request({ outputs: alone }));
  const index = [{ tag: 'indexed_accelerated', kind: 'index-only' }] as const;
  await convertWithin(layout.target, request({ outputs: index }));
  // An ordinary image under names of accelerated ones, and the other way round.
  const base = await layout.target.resolve('base');
  for (const tag of ['fake_accelerated', 'mine_obd', 'sha256-0123456789abcdef0123456789abcdef.sig', 'accel-cache'])
    await layout.target.tag(base, tag);
  await layout.target.tag(await layout.target.resolve('base_accelerated'), 'plain-name');
  await pushArtifact('chart');
  await stripped('foreign_accelerated');
});
afterAll(() => layout.remove());

/** A manifest that is no image. */
async function pushArtifact(tag: string): Promise<void> {
  const put = async (mediaType: string, value: unknown) => {
    const bytes = encodeJson(value);
    const descriptor = { mediaType, digest: digestOf(bytes), size: bytes.length };
    await layout.target.push(descriptor, bytesSource(bytes));
    return descriptor;
  };
  const config = await put('application/vnd.cncf.helm.config.v1+json', {});
  const manifest = { schemaVersion: 2, mediaType: OCI.manifest, config, layers: [] };
  await layout.target.tag(await put(OCI.manifest, manifest), tag);
}

/** The accelerated image without accel's annotations, as another convertor would have made it. */
async function stripped(tag: string): Promise<void> {
  const target = await openLayout(layout.directory, { create: false });
  const accelerated = await target.resolve('base_accelerated');
  const chunks: Uint8Array[] = [];
  for await (const chunk of await target.fetch(accelerated)) chunks.push(chunk);
  const { annotations: _, ...manifest } = JSON.parse(Buffer.concat(chunks).toString('utf8'));
  const bytes = encodeJson(manifest);
  const descriptor = { mediaType: accelerated.mediaType, digest: digestOf(bytes), size: bytes.length };
  await target.push(descriptor, bytesSource(bytes));
  await target.tag(descriptor, tag);
}

/** The decision in a few words. */
function brief(decision: EventDecision): string {
  if (decision.event === 'convert') return `convert ${decision.source.tag ?? decision.source.digest}`;
  if (decision.event === 'accelerated') return `accelerated ${decision.tags.map(({ tag }) => tag).join(' ')}`;
  return `skipped ${decision.code}`;
}

const about = (tag: string, expression?: string) =>
  decideEvent({ name: 'repository_dispatch', payload: { client_payload: { repository, tag } }, expression });

describe('an event about', () => {
  it.each([
    ['base', 'convert base'],
    ['base_accelerated', 'accelerated base_accelerated base_containerd_accelerated'],
    // The same conversion: its other tag reports it.
    ['base_containerd_accelerated', 'skipped reported-with-other'],
    ['alone_containerd_accelerated', 'accelerated alone_containerd_accelerated'],
    ['indexed_accelerated', 'accelerated indexed_accelerated'],
    ['foreign_accelerated', 'accelerated foreign_accelerated'],
    ['plain-name', 'skipped already-accelerated'],
    ['fake_accelerated', 'skipped named-accelerated'],
    ['chart', 'skipped not-an-image'],
    ['absent', 'skipped gone'],
    ['accel-cache', 'skipped cache-tag'],
    ['sha256-0123456789abcdef0123456789abcdef.sig', 'skipped referrer-tag'],
  ])('%s', async (tag, expected) => expect(brief(await about(tag))).toBe(expected));

  it.each([
    ['base_accelerated', '_obd$', 'skipped already-accelerated'],
    ['mine_obd', '_obd$', 'skipped named-accelerated'],
    // The suffix counts also where the expression is another.
    ['fake_accelerated', '_obd$', 'skipped named-accelerated'],
    ['base_containerd_accelerated', '_containerd_accelerated$', 'accelerated base_containerd_accelerated'],
    ['base_accelerated', '^base_accelerated$', 'accelerated base_accelerated'],
    ['mine_obd', '_accelerated$', 'convert mine_obd'],
  ])('%s with the expression %s', async (tag, expression, expected) =>
    expect(brief(await about(tag, expression))).toBe(expected),
  );

  it('a tag whose containerd tag has an older base is reported separately', async () => {
    const other = await testLayout([{ tar: smallTar(2) }]);
    try {
      await convertWithin(other.target, request({ outputs: BOTH }));
      const newer = await testLayout([{ tar: smallTar(3) }]);
      const places = { source: newer.target, target: other.target, mountFrom: undefined };
      const { convertBetween } = await import('../converter/convert.ts');
      await convertBetween(places, request({ outputs: [BOTH[0]!], force: true }));
      await newer.remove();
      const decide = (tag: string) => decideImage({ repository: `oci:${other.directory}`, tag });
      expect(brief(await decide('base_accelerated'))).toBe('accelerated base_accelerated');
      expect(brief(await decide('base_containerd_accelerated'))).toBe('accelerated base_containerd_accelerated');
    } finally {
      await other.remove();
    }
  });
});

describe('the repository that the caller allows', () => {
  const dispatch = (client: object, allowed?: string) =>
    decideEvent({ name: 'repository_dispatch', payload: { client_payload: client }, repository: allowed });

  it('events of another one are skipped', async () => {
    expect(brief(await dispatch({ repository: 'ghcr.io/octo-org/other', tag: 'base' }, repository))).toBe(
      'skipped other-repository',
    );
  });

  it('is not that of an event from elsewhere', async () => {
    const name = 'registry_package';
    const payload = eventFixture('registry-package-published');
    const decision = await decideEvent({ name, payload, repository: 'ghcr.io/octo-org/app2' });
    expect(decision).toMatchObject({ code: 'other-repository', tag: '1.2' });
  });

  it('is used for an event without a repository', async () => {
    expect(brief(await dispatch({ tag: 'base' }, repository))).toBe('convert base');
    await expect(dispatch({ tag: 'base' })).rejects.toMatchObject({ code: 'usage' });
  });
});

describe('an image that the caller names', () => {
  it('by its digest is converted by it', async () => {
    const { digest } = await layout.target.resolve('base');
    expect(await decideImage({ repository, tag: 'absent', digest })).toMatchObject({
      event: 'convert',
      source: { digest },
    });
  });

  it('is an error if it does not exist', async () => {
    await expect(decideImage({ repository, tag: 'absent' })).rejects.toMatchObject({ code: 'not-found' });
  });

  it.each([
    ['tag', { tag: 'a tag' }],
    ['digest', { digest: 'sha256:12' }],
  ])('is refused with a %s that cannot be', async (_, named) => {
    await expect(decideImage({ repository, ...named })).rejects.toMatchObject({ code: 'reference-invalid' });
  });
});
