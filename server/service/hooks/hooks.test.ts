import { createHmac } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { AccelError } from '../../../base/error.ts';
import { checkEvent } from '../push-event.ts';
import { type HookSecrets, isAuthentic } from './authenticate.ts';
import type { HookKind, HookRequest, HookSettings, IgnoredCode } from './hook.ts';
import { HOOKS } from './receivers.ts';

const FIRST = `sha256:${'1a'.repeat(32)}`;
const SECOND = `sha256:${'2b'.repeat(32)}`;
const AT = '2026-11-02T08:15:30Z';
const FIXTURES = new URL('fixtures/', import.meta.url);
const ACTION_EVENTS = new URL('../../../fixtures/events/', import.meta.url);

interface Row {
  readonly file: string;
  readonly kind: HookKind;
  readonly settings?: HookSettings;
  readonly headers?: Readonly<Record<string, string>>;
  /** `HOST/REPOSITORY:TAG[@DIGEST]` of each push. */
  readonly pushes: readonly string[];
  readonly ignored?: readonly IgnoredCode[];
  readonly at?: string;
}

const HARBOR = 'harbor.example.com/team/app';
const TABLE: readonly Row[] = [
  {
    file: 'distribution-v1',
    kind: 'distribution',
    pushes: [`registry.example.com:5000/team/app:1.4@${FIRST}`],
    ignored: ['not-an-image', 'not-an-image', 'untagged', 'other-action'],
    at: '2026-11-02T08:15:30.123456789Z',
  },
  {
    file: 'distribution-v2',
    kind: 'distribution',
    settings: { registry: 'registry.internal' },
    pushes: [`registry.internal/team/app:1.4@${SECOND}`],
    ignored: ['other-action'],
  },
  { file: 'harbor-default', kind: 'harbor', pushes: [`${HARBOR}:1.4@${FIRST}`], at: '2026-11-02T07:55:31.000Z' },
  { file: 'harbor-cloudevents', kind: 'harbor', pushes: [`${HARBOR}:1.4@${FIRST}`], at: '2026-11-02T08:15:31Z' },
  { file: 'harbor-deleted', kind: 'harbor', pushes: [], ignored: ['other-action'] },
  { file: 'harbor-by-digest', kind: 'harbor', pushes: [], ignored: ['untagged'] },
  { file: 'acr', kind: 'acr', pushes: [`registry.cn-hangzhou.aliyuncs.com/team/app:1.4@${FIRST}`] },
  {
    file: 'acr',
    kind: 'acr',
    settings: { registry: 'example-registry.cn-hangzhou.cr.aliyuncs.com' },
    pushes: [`example-registry.cn-hangzhou.cr.aliyuncs.com/team/app:1.4@${FIRST}`],
  },
  { file: 'acr-azure', kind: 'acr-azure', pushes: [`example.azurecr.io/team/app:1.4@${FIRST}`] },
  { file: 'acr-azure-ping', kind: 'acr-azure', pushes: [], ignored: ['other-action'] },
  { file: 'acr-azure-event-grid', kind: 'acr-azure', pushes: [`example.azurecr.io/team/app:1.4@${FIRST}`] },
  { file: 'acr-azure-validation', kind: 'acr-azure', pushes: [], ignored: ['other-action'] },
  { file: 'dockerhub', kind: 'dockerhub', pushes: ['docker.io/team/app:1.4'] },
  { file: 'quay', kind: 'quay', pushes: ['quay.io/team/app:1.4', 'quay.io/team/app:latest'] },
  { file: 'quay-tags-as-object', kind: 'quay', pushes: ['quay.io/team/app:1.4'] },
  { file: 'quay-build', kind: 'quay', pushes: [], ignored: ['other-action'] },
  {
    file: 'artifactory',
    kind: 'artifactory',
    settings: { registry: 'example.jfrog.io' },
    pushes: ['example.jfrog.io/docker-local/team/app:1.4'],
  },
  {
    file: 'artifactory',
    kind: 'artifactory',
    settings: { registry: '{repo}.example.com' },
    pushes: ['docker-local.example.com/team/app:1.4'],
  },
  { file: 'artifactory-deleted', kind: 'artifactory', pushes: [], ignored: ['other-action'] },
  { file: 'artifactory-artifact', kind: 'artifactory', pushes: [], ignored: ['not-an-image'] },
  {
    file: 'ecr',
    kind: 'ecr',
    pushes: [`123456789012.dkr.ecr.eu-central-1.amazonaws.com/team/app:1.4@${FIRST}`],
    at: AT,
  },
  {
    file: 'ecr-china',
    kind: 'ecr',
    pushes: [`123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn/team/app:1.4@${FIRST}`],
  },
  { file: 'ecr-failed', kind: 'ecr', pushes: [], ignored: ['other-action'] },
  { file: 'ecr-scan', kind: 'ecr', pushes: [], ignored: ['other-action'] },
  { file: 'gar', kind: 'gar', pushes: [`europe-west3-docker.pkg.dev/example/team/app:1.4@${FIRST}`] },
  { file: 'gar-untagged', kind: 'gar', pushes: [], ignored: ['untagged'] },
  { file: 'gar-deleted', kind: 'gar', pushes: [], ignored: ['other-action'] },
  ...(['zot', 'zot-other-prefix'] as const).map(
    (file): Row => ({
      file,
      kind: 'zot',
      settings: { registry: 'zot.example.com' },
      pushes: [`zot.example.com/team/app:1.4@${FIRST}`],
      at: AT,
    }),
  ),
  { file: 'zot-by-digest', kind: 'zot', settings: { registry: 'zot.example.com' }, pushes: [], ignored: ['untagged'] },
  {
    file: 'zot-deleted',
    kind: 'zot',
    settings: { registry: 'zot.example.com' },
    pushes: [],
    ignored: ['other-action'],
  },
  ...(['reference', 'fields', 'cdevents'] as const).map(
    (form): Row => ({
      file: `cloudevents-${form}`,
      kind: 'cloudevents',
      pushes: [`registry.example.com/team/app:1.4@${FIRST}`],
      at: AT,
    }),
  ),
  { file: 'cloudevents-other', kind: 'cloudevents', pushes: [], ignored: ['other-action'] },
  {
    file: 'cloudevents-batch',
    kind: 'cloudevents',
    headers: { 'content-type': 'application/cloudevents-batch+json; charset=utf-8' },
    pushes: ['registry.example.com/team/app:1.4', 'registry.example.com/team/app:1.5'],
  },
];

/** The Action's fixtures of GitHub's payloads. */
const GITHUB: readonly [file: string, event: string, pushes: number, ignored: readonly IgnoredCode[]][] = [
  ['registry-package-published', 'registry_package', 1, []],
  ['package-published', 'package', 1, []],
  ['registry-package-child', 'registry_package', 0, ['untagged']],
  ['registry-package-npm', 'registry_package', 0, ['not-an-image']],
  ['registry-package-published', 'push', 0, ['other-action']],
];

describe('hooks', () => {
  it.each(TABLE)('$kind reads $file', ({ file, kind, settings = {}, headers = {}, pushes, ignored = [], at }) => {
    const reading = HOOKS[kind](request(bodyOf(file), headers), settings);
    expect(reading.pushes.map((push) => shown(checkEvent(push)))).toEqual(pushes);
    expect(reading.ignored).toEqual(ignored);
    expect(new Set(reading.pushes.map((push) => push.kind))).toEqual(new Set(pushes.length === 0 ? [] : [kind]));
    if (at !== undefined) expect(reading.pushes[0]?.at).toBe(at);
  });

  it.each(GITHUB)('github reads %s as the event %s', (file, event, pushes, ignored) => {
    const body = readFileSync(new URL(`${file}.json`, ACTION_EVENTS));
    const reading = HOOKS.github(request(body, { 'x-github-event': event }), {});
    expect(reading.pushes.map((push) => checkEvent(push).registry)).toEqual(Array<string>(pushes).fill('ghcr.io'));
    expect(reading.ignored).toEqual(ignored);
  });

  it('answers the validation of Event Grid', () => {
    const reading = HOOKS['acr-azure'](request(bodyOf('acr-azure-validation')), {});
    expect(reading.reply).toEqual({ validationResponse: '512d38b6-c7b8-40c8-89fe-f46f9e9622b6' });
  });

  it('reads CloudEvents whose attributes are header fields', () => {
    const { data } = JSON.parse(bodyOf('cloudevents-fields').toString()) as { data: unknown };
    const headers = { 'ce-type': 'com.example.image.pushed', 'ce-specversion': '1.0', 'ce-time': AT };
    const reading = HOOKS.cloudevents(request(Buffer.from(JSON.stringify(data)), headers), {});
    expect(reading.pushes.map(shown)).toEqual([`registry.example.com/team/app:1.4@${FIRST}`]);
    expect(reading.pushes[0]?.at).toBe(AT);
  });

  it('has a fixture of every kind, and reads every fixture', () => {
    const read = new Set(TABLE.map(({ file }) => `${file}.json`));
    expect(readdirSync(FIXTURES).filter((name) => name.endsWith('.json') && !read.has(name))).toEqual([]);
    const kinds = new Set([...TABLE.map(({ kind }) => kind), 'github']);
    expect(Object.keys(HOOKS).filter((kind) => !kinds.has(kind))).toEqual([]);
    expect(Object.keys(HOOKS)).toHaveLength(12);
  });

  it('names the registry that a sender leaves out, or says where to name it', () => {
    for (const [kind, file] of [
      ['zot', 'zot'],
      ['artifactory', 'artifactory'],
    ] as const) {
      const error = errorOf(() => HOOKS[kind](request(bodyOf(file)), {}));
      expect(error.code).toBe('usage');
      expect(error.expected).toBe(`service.hooks.${kind}.registry in the configuration`);
    }
  });
});

describe('hostile notifications', () => {
  const STRANGE = [
    '',
    'x',
    'null',
    '[]',
    '{}',
    '7',
    '"text"',
    '{"events":7}',
    '{"events":[null]}',
    '{"message":{"data":"!"}}',
  ];
  const kinds = Object.keys(HOOKS) as HookKind[];

  it.each(kinds)('%s refuses what it cannot be with one error', (kind) => {
    for (const text of STRANGE) {
      const outcome = attempt(kind, Buffer.from(text));
      if (outcome instanceof Error) expect(outcome).toMatchObject({ name: 'AccelError', code: 'usage' });
      else expect(outcome).toEqual([]);
    }
  });

  it('refuses or skips every field of every fixture that is null, missing or of another type', () => {
    let tried = 0;
    for (const { file, kind, settings = {}, headers = {} } of TABLE) {
      const document = JSON.parse(bodyOf(file).toString()) as unknown;
      for (const changed of mutations(document)) {
        const outcome = attempt(kind, Buffer.from(JSON.stringify(changed)), settings, headers);
        if (outcome instanceof Error) expect(outcome).toBeInstanceOf(AccelError);
        tried += 1;
      }
    }
    expect(tried).toBeGreaterThan(1000);
  });

  it('does not accept names that no registry has', () => {
    const event = JSON.parse(bodyOf('quay').toString()) as Record<string, unknown>;
    for (const url of ['quay.io/../../etc', 'quay.io/team/app?x', 'quay.io/Team/App', 'http://quay.io/team/app']) {
      const { pushes } = HOOKS.quay(request(Buffer.from(JSON.stringify({ ...event, docker_url: url }))), {});
      expect(() => checkEvent(pushes[0]!)).toThrow(AccelError);
    }
  });
});

describe('isAuthentic', () => {
  const body = Buffer.from('{"a":1}');
  const mac = createHmac('sha256', 'secret').update(body).digest('hex');
  const basic = `Basic ${Buffer.from('user:pass:word').toString('base64')}`;
  const rows: readonly [HookKind, HookSecrets, Record<string, string>, string, boolean][] = [
    ['harbor', {}, {}, '', true],
    ['harbor', { authorization: 'Bearer x' }, { authorization: 'Bearer x' }, '', true],
    ['harbor', { authorization: 'Bearer x' }, { authorization: 'Bearer y' }, '', false],
    ['harbor', { authorization: 'Bearer x' }, { authorization: 'bearer x' }, '', false],
    ['harbor', { authorization: 'Bearer x' }, {}, '', false],
    ['zot', { basic: 'user:pass:word' }, { authorization: basic }, '', true],
    ['zot', { basic: 'user:other' }, { authorization: basic }, '', false],
    ['github', { secret: 'secret' }, { 'x-hub-signature-256': `sha256=${mac}` }, '', true],
    ['github', { secret: 'other' }, { 'x-hub-signature-256': `sha256=${mac}` }, '', false],
    ['github', { secret: 'secret' }, { 'x-hub-signature-256': mac }, '', false],
    ['github', { secret: 'secret' }, {}, 'token=secret', false],
    ['github', { secret: 'secret' }, {}, '', false],
    ['artifactory', { secret: 'secret' }, { 'x-jfrog-event-auth': 'secret' }, '', true],
    ['artifactory', { secret: 'secret' }, { 'x-jfrog-event-auth': mac }, '', true],
    ['artifactory', { secret: 'secret' }, { 'x-jfrog-event-auth': 'x' }, 'token=secret', false],
    ['dockerhub', { secret: 'secret' }, {}, 'token=secret', true],
    ['dockerhub', { secret: 'secret' }, {}, 'token=Secret', false],
    ['dockerhub', { secret: 'secret' }, {}, '', false],
    ['cloudevents', { secret: 'secret' }, { 'x-hub-signature-256': `sha256=${mac}` }, '', true],
    ['gar', { secret: 'secret', authorization: 'x' }, {}, 'token=secret', false],
  ];

  it.each(rows)('%s with %j and %j, ?%s: %s', (kind, secrets, headers, query, expected) => {
    expect(isAuthentic(kind, { ...request(body, headers), query: new URLSearchParams(query) }, secrets)).toBe(expected);
  });
});

function request(body: Buffer, headers: Readonly<Record<string, string>> = {}): HookRequest {
  return { headers: { 'content-type': 'application/json', ...headers }, query: new URLSearchParams(), body };
}

function bodyOf(file: string): Buffer {
  const url = new URL(`${file}.json`, FIXTURES);
  expect(existsSync(url)).toBe(true);
  return readFileSync(url);
}

function shown({
  registry,
  repository,
  tag,
  digest,
}: {
  registry: string;
  repository: string;
  tag?: string;
  digest?: string;
}): string {
  return `${registry}/${repository}:${tag}${digest === undefined ? '' : `@${digest}`}`;
}

function attempt(
  kind: HookKind,
  body: Buffer,
  settings: HookSettings = { registry: 'registry.example.com' },
  headers: Readonly<Record<string, string>> = {},
): unknown {
  try {
    return HOOKS[kind](request(body, headers), settings).pushes;
  } catch (error) {
    return error;
  }
}

function errorOf(body: () => unknown): AccelError {
  try {
    body();
  } catch (error) {
    return error as AccelError;
  }
  throw new Error('nothing was thrown');
}

/** The document with each of its fields replaced, one at a time. */
function* mutations(value: unknown): Generator<unknown> {
  const replacements: unknown[] = [null, 7, true, [], {}, '', 'text'];
  if (Array.isArray(value)) {
    for (const [index, inner] of value.entries()) {
      for (const changed of mutations(inner)) yield value.toSpliced(index, 1, changed);
    }
  } else if (typeof value === 'object' && value !== null) {
    for (const [key, inner] of Object.entries(value)) {
      const { [key]: _, ...rest } = value as Record<string, unknown>;
      yield rest;
      for (const changed of mutations(inner)) yield { ...value, [key]: changed };
    }
  }
  yield* replacements;
}
