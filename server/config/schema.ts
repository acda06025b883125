/**
 * The configuration of all roles, as one schema: the types, the checks, docs/configuration.md and values.schema.json come
 * from it. Names are a contract with the files that people have; a key is added, never renamed.
 */
import { z } from 'zod';

// Without flags: JSON Schema has none.
const HOST = /^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:\d{1,5})?$/;
const ADDRESS = /^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+):(\d{1,5})$/;
const DURATION = /^\d+(\.\d+)?(ms|s|m|h|d)$/;
const BYTES = /^\d+(\.\d+)?([KMGT]i?)?$/;

/** Text that matches a pattern, with what it must look like for the error. */
function text(pattern: RegExp, form: string) {
  return z.string().regex(pattern, `is not ${form}`);
}

const path = z.string().min(1, 'is empty');
const address = text(ADDRESS, 'an address, HOST:PORT').refine(
  (value) => portOf(value) <= 65_535,
  'has a port above 65535',
);
const duration = text(DURATION, 'a duration such as 30s, 5m or 24h');
const patterns = z.array(z.string().min(1, 'is empty')).min(1, 'needs at least one pattern');

const registry = z.strictObject({
  host: text(HOST, 'a registry host, HOST[:PORT]').describe('Host and port, as in a reference'),
  plain: z.boolean().default(false).describe('Plain HTTP in place of HTTPS'),
  credentialsFile: path.optional().describe("File in the form of Docker's config.json; Docker's own unless given"),
  caFile: path.optional().describe('PEM file of certificate authorities that are trusted beside the system’s'),
});

const rule = z.strictObject({
  repositories: patterns.describe('Globs of HOST/REPOSITORY, of which one must match'),
  excludeRepositories: patterns.optional().describe('Globs of repositories that the rule leaves out'),
  tags: z
    .strictObject({
      include: patterns.optional().describe('Globs of tags, of which one must match; all tags unless given'),
      exclude: patterns.optional().describe('Globs of tags that the rule leaves out'),
    })
    .default({})
    .describe('Tags that the rule covers'),
  mode: z
    .enum(['full', 'index-only'])
    .default('full')
    .describe('Form of the result: full copies, or indexes over the original layers'),
  platforms: z
    .array(z.string().min(1, 'is empty'))
    .optional()
    .describe('Platforms to convert; every Linux platform unless given'),
  prefetch: z.array(z.string().min(1, 'is empty')).optional().describe('Paths that a node fetches ahead'),
  prefetchFile: path.optional().describe('File with such paths, one a line'),
  targetRepository: z
    .string()
    .min(1, 'is empty')
    .optional()
    .describe('Where converted images go; beside the source unless given'),
  verify: z
    .enum(['off', 'quick', 'full'])
    .default('off')
    .describe('Verification of a converted image before its tag is set'),
});

const hook = z
  .strictObject({
    authorizationFile: path.optional().describe('File with the whole Authorization header, compared in constant time'),
    secretFile: path.optional().describe('File with the secret of the HMAC signature'),
    basicFile: path.optional().describe('File with USER:PASSWORD'),
  })
  .describe('One receiver; its secret in one of the files');

/** Kinds of registries whose notifications are understood. */
const HOOK_KINDS = [
  'distribution',
  'harbor',
  'github',
  'acr',
  'acr-azure',
  'dockerhub',
  'quay',
  'artifactory',
  'ecr',
  'gar',
  'zot',
  'cloudevents',
] as const;

const notification = z.strictObject({
  expression: z
    .string()
    .min(1, 'is empty')
    .default('_accelerated$')
    .describe('Regular expression that a finished tag must match'),
  url: z.url({ protocol: /^https?$/, error: 'is not an http or https URL' }).describe('Where the notification goes'),
  secretFile: path.optional().describe('File with the secret of the HMAC signature'),
  form: z
    .enum(['webhook', 'cloudevents', 'github-dispatch', 'slack'])
    .default('webhook')
    .describe('Form of the notification'),
});

const service = z.strictObject({
  listen: address.default('127.0.0.1:8686').describe('Address of API, hooks and console'),
  store: z
    .string()
    .min(1, 'is empty')
    .default('/var/lib/accel/queue.db')
    .describe('File of the embedded queue, or a postgres:// URL'),
  concurrency: z.int().min(1).max(256).default(1).describe('Conversions at a time'),
  hooks: z
    .strictObject(
      Object.fromEntries(HOOK_KINDS.map((kind) => [kind, hook.optional()])) as Record<
        (typeof HOOK_KINDS)[number],
        z.ZodOptional<typeof hook>
      >,
    )
    .default({})
    .describe('Receivers of notifications by the kind of registry that sends them'),
  notifications: z.array(notification).default([]).describe('Who hears of finished conversions'),
});

const agent = z.strictObject({
  listen: address.default('127.0.0.1:65001').describe('Address of the registry mirror and the block proxy'),
  peerListen: address.default('0.0.0.0:65002').describe('Address that other agents reach'),
  peers: z
    .strictObject({
      static: z.array(address).optional().describe('Addresses of all agents'),
      dns: z.string().min(1, 'is empty').optional().describe('Name that resolves to all agents'),
      file: path.optional().describe('File with one address a line, read again when it changes'),
    })
    .default({})
    .describe('Source of the addresses of all agents; one of the three'),
  zone: z.string().default('').describe('Zone of this node: agents ask those of their own zone first'),
  cache: z
    .strictObject({
      path: path.default('/var/lib/accel/cache').describe('Folder of the pieces'),
      capacity: text(BYTES, 'a size such as 4Gi').default('4Gi').describe('Most bytes of pieces on disk'),
      ttl: duration.default('24h').describe('Time since the last use after which a piece may go'),
    })
    .prefault({})
    .describe('Pieces on disk'),
});

/** The whole file. */
export const CONFIG_SCHEMA = z.strictObject({
  registries: z.array(registry).default([]).describe('Registries that may be reached, and how'),
  rules: z
    .array(rule)
    .default([])
    .describe('Images to convert, and their options; the first rule that matches decides'),
  service: service.prefault({}).describe('The conversion service, `accel serve`'),
  agent: agent.prefault({}).describe('The agent of a node, `accel agent`'),
  telemetry: z
    .strictObject({
      listen: address.default('127.0.0.1:65003').describe('Address of /metrics, /healthz and /readyz'),
    })
    .prefault({})
    .describe('Metrics and health'),
  drain: duration.default('30s').describe('Time that work in progress has to end after SIGTERM'),
});

/** A checked configuration, with all defaults. */
export type Config = z.output<typeof CONFIG_SCHEMA>;

/** Milliseconds of a duration that the schema accepted. */
export function milliseconds(value: string): number {
  const units: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
  const [, amount, unit] = /^([\d.]+)([a-z]+)$/.exec(value)!;
  return Number(amount) * units[unit!]!;
}

/** Host and port of an address that the schema accepted. */
export function hostAndPort(value: string): { readonly host: string; readonly port: number } {
  const [, host = ''] = ADDRESS.exec(value)!;
  return { host: host.replace(/^\[|\]$/g, ''), port: portOf(value) };
}

function portOf(value: string): number {
  return Number(ADDRESS.exec(value)?.[2] ?? 0);
}
