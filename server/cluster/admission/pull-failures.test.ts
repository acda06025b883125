import { expect, it } from 'vitest';
import { CONFIG_SCHEMA } from '../../config/schema.ts';
import { rewriteSettings } from '../rewrite/rewrite-settings.ts';
import { pullFailure } from './pull-failures.ts';

const settings = rewriteSettings(
  CONFIG_SCHEMA.parse({ registries: [{ host: 'shop-vpc.example.com' }, { host: 'registry.example.com' }] }),
  undefined,
);
const NOW = Date.parse('2026-11-28T12:00:00Z');
const event = (message: string, more: object = {}) => ({
  metadata: { name: 'e', namespace: 'n' },
  message,
  involvedObject: { kind: 'Pod', namespace: 'n', name: 'p', uid: 'u' },
  lastTimestamp: '2026-11-28T11:59:30Z',
  ...more,
});
const RPC = 'rpc error: code = Unknown desc = failed to pull and unpack image';
const P2P = 'shop-vpc.distributed.example.com:65001/a:1';

it.each<[name: string, event: Parameters<typeof pullFailure>[0], expected: unknown]>([
  [
    'a name of the agents',
    event(`Failed to pull image "${P2P}": ${RPC}: dial tcp: connection refused`),
    { mode: 'p2p', pod: 'u', namespace: 'n' },
  ],
  [
    'the other form',
    event(`Failed to pull image "shop.distributed.example.com:65001/a:1": ${RPC}`),
    { mode: 'p2p', pod: 'u', namespace: 'n' },
  ],
  [
    'an accelerated tag',
    event(`Failed to pull image "registry.example.com/a:1_accelerated": ${RPC}`),
    { mode: 'on-demand', pod: 'u', namespace: 'n' },
  ],
  [
    'without credentials',
    event(`Failed to pull image "${P2P}": ${RPC}: 401 Unauthorized`),
    { mode: 'p2p', pod: 'u', namespace: 'n' },
  ],
  ['in several lines', event(`Failed to pull image "${P2P}": ${RPC}\nEOF`), { mode: 'p2p', pod: 'u', namespace: 'n' }],
  ['without a cause', event(`Failed to pull image "${P2P}"`), { mode: 'p2p', pod: 'u', namespace: 'n' }],
  [
    'without a uid',
    event(`Failed to pull image "${P2P}"`, { involvedObject: { kind: 'Pod', namespace: 'n', name: 'p' } }),
    { mode: 'p2p', pod: 'n/p', namespace: 'n' },
  ],
  [
    'by the newer field of the time',
    event(`Failed to pull image "${P2P}"`, { lastTimestamp: null, eventTime: '2026-11-28T11:59:30.000000Z' }),
    { mode: 'p2p', pod: 'u', namespace: 'n' },
  ],
  ['an image that does not exist', event(`Failed to pull image "${P2P}": ${RPC}: not found`), undefined],
  ['the same in a second line', event(`Failed to pull image "${P2P}": ${RPC}\nmanifest unknown`), undefined],
  ['an image of its own name', event(`Failed to pull image "registry.example.com/a:1": ${RPC}`), undefined],
  [
    'an accelerated tag of another registry',
    event(`Failed to pull image "quay.io/a:1_accelerated": ${RPC}`),
    undefined,
  ],
  ['no image', event('Failed to pull image "": x'), undefined],
  ['another failure', event('Error: ErrImagePull'), undefined],
  ['history', event(`Failed to pull image "${P2P}"`, { lastTimestamp: '2026-11-28T11:00:00Z' }), undefined],
  [
    'of something else',
    event(`Failed to pull image "${P2P}"`, { involvedObject: { kind: 'Node', name: 'p' } }),
    undefined,
  ],
])('%s', (_, given, expected) => expect(pullFailure(given, settings, NOW)).toEqual(expected));
