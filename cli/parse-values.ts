/** Parsers of the values of flags: text in, checked value out, `usage` with the flag's name and what it takes. */
import { AccelError } from '../base/error.ts';

const GIB = 2 ** 30;
/** Bytes of each unit of a size. */
const UNITS = { '': 1, k: 1024, m: 2 ** 20, g: GIB, t: 2 ** 40 } as const;
/** Virtual sizes go in steps of one ext4 block group of 4 KiB blocks. */
const VSIZE_STEP = 128 * 2 ** 20;
/** 2^32 blocks of 4 KiB: as far as the block numbers that accel writes reach. */
const MAX_VSIZE_GIB = 16 * 1024;

/** `--vsize`: GiB, whole or in eighths (128 MiB), up to 16 TiB, or with a unit `M`, `G` or `T`; the result is in bytes. */
export function parseVsize(text: string): number {
  const [, number = text, unit = 'G'] = /^([\d.]+) ?([mMgGtT])(?:i?[bB])?$/.exec(text) ?? [];
  const bytes = decimal(number) * UNITS[unit.toLowerCase() as 'm' | 'g' | 't'];
  if (bytes % VSIZE_STEP === 0 && bytes > 0 && bytes <= MAX_VSIZE_GIB * GIB) return bytes;
  throw refused('--vsize', text, `GiB, from 0.125 to ${MAX_VSIZE_GIB} in steps of 0.125, such as 64 or 64G`);
}

/** `--bs`: a power of two from 4 to 64 KiB, as `4`, `4K` (both KiB) or `4096` (bytes); the result is in bytes. */
export function parseBlockSize(text: string): number {
  const value = bytesOf(text);
  const bytes = value !== undefined && value <= 64 ? value * 1024 : value;
  if (bytes !== undefined && [4, 8, 16, 32, 64].includes(bytes / 1024)) return bytes;
  throw refused('--bs', text, 'a power of two from 4 to 64 (KiB)');
}

/** `--span`: bytes, or with a unit `K` or `M`; 64 KiB to 64 MiB. */
export function parseSpan(text: string): number {
  const bytes = bytesOf(text);
  if (bytes !== undefined && bytes >= 65_536 && bytes <= 64 * 2 ** 20) return bytes;
  throw refused('--span', text, 'bytes from 64K to 64M, such as 1M');
}

/** `--chunk-size`: bytes, or with a unit `K` or `M`; 64 KiB to 1 GiB. */
export function parseChunkSize(text: string): number {
  const bytes = bytesOf(text);
  if (bytes !== undefined && bytes >= 65_536 && bytes <= GIB) return bytes;
  throw refused('--chunk-size', text, 'bytes from 64K to 1024M, such as 4M');
}

/** A parser for a rate: bytes a second, or with a unit `K` or `M`, up to 1 GiB; 0 turns the bound off. */
export function parseRate(flag: string): (text: string) => number {
  return (text) => {
    const bytes = bytesOf(text);
    if (bytes !== undefined && bytes <= GIB) return bytes;
    throw refused(flag, text, 'bytes a second up to 1024M, such as 1K, or 0 for no bound');
  };
}

/** `--bandwidth`: bytes a second, or with a unit `K`, `M` or `G`; from 16 KiB, so that a transfer moves within its deadlines. */
export function parseBandwidth(text: string): number {
  const bytes = bytesOf(text.replace(/\/s$/, ''));
  if (bytes !== undefined && bytes >= 16_384 && Number.isSafeInteger(bytes)) return bytes;
  throw refused('--bandwidth', text, 'bytes a second from 16K, such as 20M');
}

/** `--rate-limit`: requests a second, with or without `/s`; from 0.1 to 10000. */
export function parseRequestRate(text: string): number {
  const requests = decimal(text.replace(/\/s$/, ''));
  if (requests >= 0.1 && requests <= 10_000) return requests;
  throw refused('--rate-limit', text, 'requests a second from 0.1 to 10000, such as 10/s');
}

const SECOND = 1000;
/** Milliseconds of each unit of a duration. */
const DURATIONS: Readonly<Record<string, number>> = {
  ms: 1,
  s: SECOND,
  m: 60 * SECOND,
  min: 60 * SECOND,
  h: 3600 * SECOND,
  d: 86_400 * SECOND,
};
const WEEK = 7 * 86_400 * SECOND;
const MAX_AGE = 36_525 * 86_400 * SECOND;
/** As far as a timer of Node reaches. */
const MAX_DURATION = 24 * 86_400 * SECOND;

/** A parser for a duration: `90`, `90s` (both seconds), `10m`, `1h30m`, `500ms`; the result is in milliseconds. */
export function parseDuration(flag: string, least = 1): (text: string) => number {
  return (text) => {
    const parts = [...text.trim().matchAll(/(\d{1,9}(?:\.\d{1,3})?)(ms|min|[smhd])/g)];
    const isWhole = parts.length > 0 && parts.map(([part]) => part).join('') === text.trim();
    const value = isWhole
      ? parts.reduce((sum, [, number, unit]) => sum + Number(number) * DURATIONS[unit!]!, 0)
      : /^\d{1,9}$/.test(text.trim())
        ? Number(text) * SECOND
        : Number.NaN;
    if (value >= least && value <= MAX_DURATION) return Math.round(value);
    throw refused(flag, text, 'a duration up to 24d, such as 90s, 10m or 1h30m');
  };
}

/** `--older-than`: an age, `12h`, `30d`, `8w`, `1d12h`; a bare number is in days. The result is in milliseconds. */
export function parseAge(text: string): number {
  const parts = [...text.trim().matchAll(/(\d{1,6})(min|[smhdw])/g)];
  const isWhole = parts.length > 0 && parts.map(([part]) => part).join('') === text.trim();
  const value = isWhole
    ? parts.reduce((sum, [, number, unit]) => sum + Number(number) * (DURATIONS[unit!] ?? WEEK), 0)
    : /^\d{1,6}$/.test(text.trim())
      ? Number(text) * DURATIONS.d!
      : Number.NaN;
  if (value >= SECOND && value <= MAX_AGE) return value;
  throw refused('--older-than', text, 'an age up to 100 years, such as 12h, 30d or 8w');
}

/** `--max-memory`: bytes, or with a unit `K`, `M` or `G`. The converter knows the lower bound. */
export function parseMemory(text: string): number {
  const bytes = bytesOf(text);
  if (bytes !== undefined && Number.isSafeInteger(bytes)) return bytes;
  throw refused('--max-memory', text, 'bytes, such as 512M');
}

/** `--max-layer-size`: bytes, or with a unit `K`, `M`, `G` or `T`; from 1 up to 2^53 - 1. */
export function parseMaxLayerSize(text: string): number {
  const bytes = bytesOf(text);
  if (bytes !== undefined && bytes >= 1 && Number.isSafeInteger(bytes)) return bytes;
  throw refused('--max-layer-size', text, 'bytes, or with a unit K, M, G or T, such as 256G');
}

/** A parser for a whole number between two bounds, both included. */
export function parseInteger(flag: string, least: number, most: number): (text: string) => number {
  return (text) => {
    const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
    if (value >= least && value <= most) return value;
    throw refused(flag, text, `a whole number from ${least} to ${most}`);
  };
}

/** `--listen`: `HOST:PORT`, `[IPv6]:PORT`; port 0 means a free one. */
export function parseAddress(text: string): { readonly host: string; readonly port: number } {
  const match = /^(?:\[([\da-fA-F:.]+)\]|([^\s:[\]]+)):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host !== undefined && port <= 65_535) return { host, port };
  throw refused('--listen', text, 'HOST:PORT, such as 127.0.0.1:10809');
}

/** `--agent`: the URL of an agent, or its `HOST:PORT`; without path, query and user. */
export function parseAgentUrl(text: string): string {
  const whole = /^https?:\/\//i.test(text) ? text : `http://${text}`;
  const url = URL.canParse(whole) ? new URL(whole) : undefined;
  const isAddress = /:\d{1,5}\/?$/.test(text) && url?.pathname === '/' && url.username === '' && url.search === '';
  if (isAddress) return url.origin;
  const shown = text.replace(/\/\/[^/]*@/, '//***@');
  throw refused(
    '--agent',
    shown,
    'the address of an agent, agent.listen of its configuration, such as 127.0.0.1:65001',
  );
}

/** Collects the values of a flag that may be given more than once, or with commas. */
export function collect(text: string, previous: readonly string[] = []): string[] {
  return [...previous, ...text.split(',').filter((part) => part !== '')];
}

/** Collects paths of a flag that may be given more than once; a path may hold a comma. */
export function collectPaths(text: string, previous: readonly string[] = []): string[] {
  return [...previous, text];
}

const REPEATABLE: ReadonlySet<unknown> = new Set([collect, collectPaths]);

/** Whether a parser collects the values of a flag that may be given more than once. */
export function isRepeatable(parser: unknown): boolean {
  return REPEATABLE.has(parser);
}

function bytesOf(text: string): number | undefined {
  const match = /^(\d{1,15})([kKmMgGtT]?)(?:i?[bB])?$/.exec(text);
  if (match === null) return undefined;
  const unit = UNITS[match[2]!.toLowerCase() as keyof typeof UNITS];
  return Number(match[1]) * unit;
}

function decimal(text: string): number {
  return /^\d{1,6}(\.\d{1,6})?$/.test(text) ? Number(text) : Number.NaN;
}

function refused(flag: string, found: string, expected: string): AccelError {
  return new AccelError('usage', `${flag} does not take this value`, { expected, found });
}
