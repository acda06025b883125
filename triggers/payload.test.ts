import { describe, expect, it } from 'vitest';
import { eventFixture, FIXTURE_IMAGE } from '../tests/support/events.ts';
import { guessEventName, readEvent } from './payload.ts';

const { repository, tag, digest } = FIXTURE_IMAGE;
const PACKAGE = 'registry_package';

interface Payload {
  action?: unknown;
  client_payload?: unknown;
  registry_package: { name?: string; namespace?: string; package_version: Record<string, unknown> };
}

/** A published package, changed. */
function published(change: (payload: Payload) => void): Payload {
  const payload = eventFixture('registry-package-published') as Payload;
  change(payload);
  return payload;
}

describe('payloads', () => {
  it.each([
    ['registry-package-published', PACKAGE, { repository, tag, digest }],
    ['registry-package-updated', PACKAGE, { repository, tag, digest }],
    // Its names have capitals and another package_type; the short digest is invalid.
    ['registry-package-documented', PACKAGE, { repository, tag, digest }],
    ['registry-package-docker', PACKAGE, { repository: 'docker.pkg.github.com/octo-org/app/app', tag }],
    ['package-published', 'package', { repository, tag, digest }],
    ['repository-dispatch', 'repository_dispatch', { repository, tag }],
  ])('%s', (name, event, image) => {
    const payload = eventFixture(name);
    expect(readEvent(event, payload)).toEqual({ kind: 'image', image });
    expect(guessEventName(payload)).toBe(event);
  });

  it.each<[string, unknown, string, string]>([
    ['a child manifest', eventFixture('registry-package-child'), PACKAGE, 'untagged'],
    ['an npm package', eventFixture('registry-package-npm'), PACKAGE, 'not-a-container'],
    ['a deletion', published((payload) => Object.assign(payload, { action: 'deleted' })), PACKAGE, 'other-action'],
    ['a payload without action', published((payload) => delete payload.action), PACKAGE, 'other-action'],
    ['a push of commits', { ref: 'refs/heads/main' }, 'push', 'no-image'],
    ['a dispatch for something else', { client_payload: { unit: true } }, 'repository_dispatch', 'no-image'],
  ])('%s names no image', (_, payload, event, code) => {
    expect(readEvent(event, payload)).toMatchObject({ kind: 'skip', code });
  });
});

describe('the repository of a package', () => {
  const version = (payload: Payload) => payload.registry_package.package_version;
  const repositoryOf = (payload: Payload) => {
    const reading = readEvent(PACKAGE, payload);
    return reading.kind === 'image' ? reading.image.repository : reading.code;
  };

  it.each<[string, string, string]>([
    ['a port', 'localhost:5000/octo-org/app:1.2', 'localhost:5000/octo-org/app'],
    ['a port and no tag', 'localhost:5000/octo-org/app', 'localhost:5000/octo-org/app'],
    ['a digest', `ghcr.io/octo-org/app@${digest}`, 'ghcr.io/octo-org/app'],
    ['parts', 'ghcr.io/Octo-Org/group/App:1.2', 'ghcr.io/octo-org/group/app'],
  ])('by its URL with %s', (_, url, expected) => {
    expect(repositoryOf(published((payload) => Object.assign(version(payload), { package_url: url })))).toBe(expected);
  });

  it.each<[string, string | undefined, string]>([
    ['the owner', 'Octo-Org', 'ghcr.io/octo-org/app'],
    ['owner and name', 'Octo-Org/app', 'ghcr.io/octo-org/app'],
    ['nothing', undefined, 'ghcr.io/octo-org/app'],
  ])('by its name where the namespace is %s', (_, namespace, expected) => {
    const payload = published((one) => {
      Object.assign(one.registry_package, { namespace });
      Object.assign(version(one), { package_url: '' });
    });
    expect(repositoryOf(payload)).toBe(expected);
  });

  it('metadata of a container identify one, whatever the package type', () => {
    const payload = published((one) =>
      Object.assign(one.registry_package, { package_type: 'npm', ecosystem: 'npm', registry: undefined }),
    );
    expect(repositoryOf(payload)).toBe(repository);
  });

  it('the tag of the URL is used if the metadata has no tag', () => {
    const payload = published((one) => Object.assign(version(one), { container_metadata: { tag: { name: '' } } }));
    expect(readEvent(PACKAGE, payload)).toMatchObject({ image: { tag: '1.2' } });
  });
});

describe('malformed payloads', () => {
  it.each<[string, string, unknown]>([
    ['no object', PACKAGE, []],
    ['null', PACKAGE, null],
    ['no package', PACKAGE, { action: 'published' }],
    ['client_payload is text', 'repository_dispatch', { client_payload: 'x' }],
    ['the tag is a number', 'repository_dispatch', { client_payload: { repository, tag: 1.2 } }],
  ])('%s', (_, event, payload) => {
    expect(() => readEvent(event, payload)).toThrow(expect.objectContaining({ code: 'usage' }));
  });
});
