import { describe, expect, test } from 'vitest';
import { fetchBytes } from '../oci/content.ts';
import { rejects } from '../oci/contract.ts';
import { bytes, descriptor, scripted, serve } from '../oci/registry/testing/scripted-target.ts';
import { DEFAULT_RUNTIME } from './http-options.ts';

describe('retries', () => {
  test.each([408, 425, 429, 500, 502, 503, 504])('HTTP %i passes: the third try is answered', async (status) => {
    const { target, waits, server } = await scripted((_, seen) =>
      seen.length < 3 ? { status, body: 'later' } : serve(bytes, undefined),
    );
    expect(Buffer.from(await fetchBytes(target, descriptor, 1e6)).equals(bytes)).toBe(true);
    expect(waits).toEqual([375, 750]);
    expect(server.seen.length).toBe(3);
  });

  test.each([400, 405, 409, 413, 501])('HTTP %i stays: one try, the body is shown', async (status) => {
    const { target, server } = await scripted(() => ({
      status,
      body: '{"errors":[{"code":"DENIED","message":"by policy","detail":{"quota":5}}]}',
    }));
    const error = await rejects(target.fetch(descriptor), 'registry-error');
    expect(error.found).toBe(`HTTP ${status}: DENIED: by policy ({"quota":5})`);
    expect(server.seen.length).toBe(1);
  });

  test.each([
    ['7', 7000],
    ['0', 0],
    ['119', 119_000],
    [new Date(10_000_000_000_000 + 12_000).toUTCString(), 12_000],
    ['soon', 375],
  ])('Retry-After: %s', async (value, wait) => {
    const { target, waits } = await scripted(
      (_, seen) => (seen.length === 1 ? { status: 429, headers: { 'retry-after': value } } : serve(bytes, undefined)),
      { runtime: { now: () => 10_000_000_000_000 } },
    );
    await fetchBytes(target, descriptor, 1e6);
    expect(waits).toEqual([wait]);
  });

  test('a registry that always fails ends after eight tries with its own words', async () => {
    const { target, server, waits } = await scripted(() => ({
      status: 503,
      body: '<h1>upstream\u001b[31m is down</h1>',
    }));
    const error = await rejects(target.fetch(descriptor), 'registry-error');
    expect(error.found).toBe('HTTP 503: <h1>upstream [31m is down</h1>');
    expect(server.seen.length).toBe(8);
    expect(waits).toEqual([375, 750, 1500, 3000, 3000, 3000, 3000]);
  });

  test.each([
    [0, 1],
    [2, 3],
    [20, 21],
  ])('%d retries are %d tries', async (retries, tries) => {
    const { target, server } = await scripted(() => ({ status: 503 }), { retries });
    await rejects(target.fetch(descriptor), 'registry-error');
    expect(server.seen.length).toBe(tries);
  });

  test('resets pass, as behind a load balancer that drains', async () => {
    const { target } = await scripted((_, seen) => (seen.length < 3 ? { reset: true } : serve(bytes, undefined)));
    expect((await fetchBytes(target, descriptor, 1e6)).length).toBe(bytes.length);
  });

  test('resets without end are an error in bounded time', async () => {
    const { target, server } = await scripted(() => ({ reset: true }));
    await rejects(target.fetch(descriptor), 'registry-unreachable');
    expect(server.seen.length).toBe(8);
  });

  test('a server that never answers is given up by the stall timeout', async () => {
    const { target } = await scripted(() => ({ hang: true }), { runtime: { stallTimeout: 100, attempts: 2 } });
    const error = await rejects(target.fetch(descriptor), 'registry-unreachable');
    expect(error.found).toContain('UND_ERR_HEADERS_TIMEOUT');
  });

  test('an abort ends the wait between tries', async () => {
    const controller = new AbortController();
    const { target } = await scripted(
      () => {
        setTimeout(() => controller.abort(), 50);
        return { status: 503 };
      },
      { runtime: { sleep: DEFAULT_RUNTIME.sleep, random: () => 1 } },
    );
    await expect(target.fetch(descriptor, { signal: controller.signal })).rejects.toThrow(/abort/i);
  });
});
