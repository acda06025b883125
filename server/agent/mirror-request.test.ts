/** Requests to the mirror, and the registry and repository that they mean. */
import { expect, it } from 'vitest';
import { mappedHosts, originalHosts } from '../config/p2p-names.ts';
import { parseMirrorRequest } from './mirror-request.ts';
import { Upstreams } from './pieces/upstreams.ts';

const HEX = 'a'.repeat(64);
const many = new Upstreams(
  [
    'docker.io',
    'ghcr.io',
    'reg.example:5000',
    'shop-vpc.cn-x.cr.example',
    'plain.cn-x.cr.example',
    'tls.example:443',
  ].map((host) => ({ host, plain: false, http: {} })),
);
const one = new Upstreams([{ host: 'only.example', plain: true, http: {} }]);

it.each([
  [
    'ns of containerd',
    '/v2/library/busybox/manifests/1.36?ns=docker.io',
    undefined,
    'https://registry-1.docker.io/v2/library/busybox/manifests/1.36',
  ],
  [
    'ns before the host',
    '/v2/a/b/manifests/x?ns=ghcr.io',
    'plain.distributed.cn-x.cr.example:65001',
    'https://ghcr.io/v2/a/b/manifests/x',
  ],
  [
    'another name of Docker Hub',
    '/v2/library/x/manifests/x?ns=index.docker.io',
    undefined,
    'https://registry-1.docker.io/v2/library/x/manifests/x',
  ],
  [
    'a rewritten host',
    `/v2/a/blobs/sha256:${HEX}`,
    'plain.distributed.cn-x.cr.example:65001',
    `https://plain.cn-x.cr.example/v2/a/blobs/sha256:${HEX}`,
  ],
  [
    'a rewritten host in ns, as containerd names it',
    '/v2/a/manifests/x?ns=plain.distributed.cn-x.cr.example:65001',
    '127.0.0.1:65001',
    'https://plain.cn-x.cr.example/v2/a/manifests/x',
  ],
  [
    'a rewritten host in ns whose -vpc was left out',
    '/v2/a/manifests/x?ns=shop.distributed.cn-x.cr.example:65001',
    '127.0.0.1:65001',
    'https://shop-vpc.cn-x.cr.example/v2/a/manifests/x',
  ],
  [
    'a rewritten host with -vpc',
    '/v2/a/manifests/x',
    'shop-vpc.distributed.cn-x.cr.example:65001',
    'https://shop-vpc.cn-x.cr.example/v2/a/manifests/x',
  ],
  [
    'a rewritten host whose -vpc was left out',
    '/v2/a/manifests/x',
    'Shop.Distributed.cn-x.cr.example:65001',
    'https://shop-vpc.cn-x.cr.example/v2/a/manifests/x',
  ],
  [
    'the host as first part of the path',
    '/v2/reg.example:5000/team/app/manifests/x',
    '127.0.0.1:65001',
    'https://reg.example:5000/v2/team/app/manifests/x',
  ],
  [
    'Docker without a name',
    '/v2/library/alpine/manifests/3',
    '127.0.0.1:65001',
    'https://registry-1.docker.io/v2/library/alpine/manifests/3',
  ],
  ['the port of the scheme', '/v2/a/manifests/x?ns=tls.example:443', undefined, 'https://tls.example/v2/a/manifests/x'],
  ['a list of tags with its page', '/v2/a/tags/list?n=5&ns=ghcr.io', undefined, 'https://ghcr.io/v2/a/tags/list?n=5'],
])('%s', (_, url, host, expected) => {
  const parsed = parseMirrorRequest(url, host, many);
  expect(parsed).toMatchObject({ url: new URL(expected) });
  // A configured port of the scheme and its absence are the same upstream.
  expect(many.byUrl(new URL(expected))).toBeDefined();
});

it('the only registry answers without a name', () => {
  expect(parseMirrorRequest('/v2/a/b/manifests/x', 'localhost', one)).toMatchObject({
    url: new URL('http://only.example/v2/a/b/manifests/x'),
  });
  expect(parseMirrorRequest('/v2/', 'localhost', one)).toMatchObject({
    kind: 'ping',
    upstream: { host: 'only.example' },
  });
});

it('a name of the configuration leads to its registry', () => {
  const named = new Upstreams([
    { host: '10.0.0.1:5000', plain: true, http: {}, p2pName: 'Agents.test:65001' },
    { host: 'ghcr.io', plain: false, http: {} },
  ]);
  for (const [url, host] of [
    ['/v2/a/manifests/x?ns=agents.test:65001', undefined],
    ['/v2/a/manifests/x', 'agents.test:65001'],
  ] as const) {
    expect(parseMirrorRequest(url, host, named)).toMatchObject({
      url: new URL('http://10.0.0.1:5000/v2/a/manifests/x'),
    });
  }
  expect(parseMirrorRequest('/v2/a/manifests/x?ns=agents.test:65002', undefined, named)).toBe('unknown-registry');
});

it.each([
  ['registry.example.com', ['registry.distributed.example.com:65001']],
  ['shop-vpc.cn.example', ['shop-vpc.distributed.cn.example:65001', 'shop.distributed.cn.example:65001']],
  ['registry.example.com:5000', []],
  ['10.0.0.1', []],
  ['localhost', []],
])('%s is pulled through the agent as %j', (host, names) => {
  expect(mappedHosts(host, 65001)).toEqual(names);
  for (const name of names) expect(originalHosts(name)).toContain(host);
});

it.each([
  ['/v2/a/manifests/x?ns=evil.example', 'unknown-registry'],
  ['/v2/a/manifests/x?ns=ghcr.io@evil.example', 'unknown-registry'],
  ['/v2/a/manifests/x?ns=', 'unknown-registry'],
  ['/v2/../../etc/manifests/x?ns=ghcr.io', 'not-found'],
  ['/v2/a%2f..%2fb/manifests/x?ns=ghcr.io', 'not-found'],
  ['/v2/a/manifests/..?ns=ghcr.io', 'not-found'],
  ['/v2/A/manifests/x?ns=ghcr.io', 'not-found'],
  ['/v2/a/blobs/uploads/?ns=ghcr.io', 'not-found'],
  ['/v2/a/tags/other?ns=ghcr.io', 'not-found'],
  ['/v2/_catalog?ns=ghcr.io', 'not-found'],
  ['/v2//manifests/x?ns=ghcr.io', 'not-found'],
  ['//v2/a/manifests/x?ns=ghcr.io', 'not-found'],
  [`/v2/${'a/'.repeat(200)}a/manifests/x?ns=ghcr.io`, 'not-found'],
])('%s is %s', (url, expected) => {
  expect(parseMirrorRequest(url, 'localhost', many)).toBe(expected);
});
