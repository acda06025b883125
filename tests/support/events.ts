/** The payloads of fixtures/events, made to speak of a repository and a tag of a test. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const FOLDER = join(import.meta.dirname, '../../fixtures/events');

/** Repository, tag and digest that the fixtures speak of. */
export const FIXTURE_IMAGE = {
  repository: 'ghcr.io/octo-org/app',
  tag: '1.2',
  digest: `sha256:${'5ba041a0'.repeat(8)}`,
} as const;

/** A payload as it is in the folder. */
export function eventFixture(name: string): unknown {
  return JSON.parse(readFileSync(join(FOLDER, `${name}.json`), 'utf8'));
}

/** A payload with another repository (`host/name`) and tag in all the places where the fixture has its own. */
export function eventAbout(name: string, repository: string, tag: string): Record<string, unknown> {
  const replace = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(replace);
    if (typeof value === 'object' && value !== null)
      return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, replace(one)]));
    if (value === FIXTURE_IMAGE.tag) return tag;
    if (typeof value !== 'string') return value;
    return value
      .replace(`${FIXTURE_IMAGE.repository}:${FIXTURE_IMAGE.tag}`, `${repository}:${tag}`)
      .replace(FIXTURE_IMAGE.repository, repository);
  };
  return replace(eventFixture(name)) as Record<string, unknown>;
}
