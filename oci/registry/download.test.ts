import { describe, expect, test } from 'vitest';
import { fetchBytes } from '../content.ts';
import { noise, rejects } from '../contract.ts';
import { bytes, descriptor, scripted, serve } from './testing/scripted-target.ts';

describe('downloads', () => {
  test('a stream that breaks twice is resumed by Range', async () => {
    const { target, server } = await scripted(({ headers }, seen) => {
      const whole = serve(bytes, headers.range);
      if (seen.length > 2) return whole;
      const length = String((whole.body as Uint8Array).length);
      return {
        ...whole,
        headers: { ...whole.headers, 'content-length': length },
        body: (whole.body as Uint8Array).subarray(0, 3000),
        cut: true,
      };
    });
    expect(Buffer.from(await fetchBytes(target, descriptor, 1e6)).equals(bytes)).toBe(true);
    expect(server.seen.map(({ headers }) => headers.range)).toEqual([undefined, 'bytes=3000-9999', 'bytes=6000-9999']);
  });

  test.each([1, 100])('a server that sends %i bytes and closes is given up', async (size) => {
    const { target, server } = await scripted(({ headers }) => {
      const whole = serve(bytes, headers.range);
      const body = whole.body as Uint8Array;
      return {
        ...whole,
        headers: { ...whole.headers, 'content-length': String(body.length) },
        body: body.subarray(0, size),
        cut: true,
      };
    });
    await rejects(fetchBytes(target, descriptor, 1e6), 'registry-unreachable');
    expect(server.seen.length).toBe(8);
  });

  test('a blob that is too slow is asked for twice', async () => {
    const { target, server } = await scripted(({ headers }) => ({ ...serve(bytes, headers.range), hangAfter: 10 }), {
      minRate: 1 << 20,
      runtime: { rateWindow: 100 },
    });
    const error = await rejects(fetchBytes(target, descriptor, 1e6), 'registry-unreachable');
    expect(error.found).toContain('too slow');
    expect(server.seen.length).toBe(2);
  });

  test.each([
    ['of the registry', '"sha256:abc"', '"sha256:abc"'],
    ['that is weak', 'W/"abc"', undefined],
  ])('an entity tag %s and If-Match', async (_, etag, sent) => {
    const { target, server } = await scripted(({ headers }, seen) => {
      const whole = serve(bytes, headers.range);
      if (seen.length > 1) return { ...whole, headers: { ...whole.headers, etag } };
      return { headers: { 'content-length': '10000', etag }, body: bytes.subarray(0, 300), cut: true };
    });
    expect(Buffer.from(await fetchBytes(target, descriptor, 1e6)).equals(bytes)).toBe(true);
    expect(server.seen.map(({ headers }) => headers['if-match'])).toEqual([undefined, sent]);
  });

  test('content that changed while it was read is refused at once', async () => {
    const { target, server } = await scripted(({ headers }) => {
      if (headers['if-match'] !== undefined) return { status: 412 };
      return { headers: { 'content-length': '10000', etag: '"1"' }, body: bytes.subarray(0, 300), cut: true };
    });
    await rejects(fetchBytes(target, descriptor, 1e6), 'digest-mismatch');
    expect(server.seen.length).toBe(2);
  });

  test('a registry without ranges starts over, and what was there is passed over', async () => {
    const { target } = await scripted((_, seen) => {
      if (seen.length > 1) return { body: bytes };
      return { headers: { 'content-length': '10000' }, body: bytes.subarray(0, 4321), cut: true };
    });
    expect(Buffer.from(await fetchBytes(target, descriptor, 1e6)).equals(bytes)).toBe(true);
  });

  test('a part-way stream without Content-Length that ends early is resumed, not believed', async () => {
    const { target } = await scripted(({ headers }, seen) => {
      if (seen.length > 1) return serve(bytes, headers.range);
      return { chunked: true, body: bytes.subarray(0, 500) };
    });
    expect(Buffer.from(await fetchBytes(target, descriptor, 1e6)).equals(bytes)).toBe(true);
  });

  test('a stream that never gets further ends after eight tries', async () => {
    const { target, server } = await scripted(({ headers }) => {
      if (headers.range) return { reset: true };
      return { headers: { 'content-length': '10000' }, body: bytes.subarray(0, 100), cut: true };
    });
    await rejects(fetchBytes(target, descriptor, 1e6), 'registry-unreachable');
    expect(server.seen.length).toBe(9);
  });

  test('a whole of another size is refused at once', async () => {
    const { target, server } = await scripted(() => ({ body: bytes.subarray(1) }));
    const error = await rejects(target.fetch(descriptor), 'size-mismatch');
    expect(error.found).toBe('9999 bytes');
    expect(server.seen.length).toBe(1);
  });

  test('a resumed stream whose end changed is a digest-mismatch', async () => {
    const { target } = await scripted(({ headers }) => {
      if (headers.range) return serve(noise(10_000, 2), headers.range);
      return { headers: { 'content-length': '10000' }, body: bytes.subarray(0, 100), cut: true };
    });
    await rejects(fetchBytes(target, descriptor, 1e6), 'digest-mismatch');
  });

  test.each([
    ['another start', { status: 206, headers: { 'content-range': 'bytes 0-9/10000' } }, 'registry-error'],
    ['more than asked for', { status: 206, headers: { 'content-range': 'bytes 100-9999/10000' } }, 'registry-error'],
    ['no Content-Range', { status: 206 }, 'registry-error'],
    ['another total', { status: 206, headers: { 'content-range': 'bytes 100-109/10001' } }, 'size-mismatch'],
    ['HTTP 416', { status: 416 }, 'size-mismatch'],
  ] as const)('a range answered with %s is refused', async (_, answer, code) => {
    const { target } = await scripted(() => answer);
    await rejects(target.fetchRange(descriptor, 100, 10), code);
  });

  test('a range from a registry that answers with the whole (200)', async () => {
    const { target } = await scripted(() => ({ body: bytes }));
    expect(Buffer.from(await target.fetchRange(descriptor, 100, 10)).equals(bytes.subarray(100, 110))).toBe(true);
  });

  test('a range answered in short pieces is completed', async () => {
    const { target, server } = await scripted(({ headers }) => {
      const [, start] = /^bytes=(\d+)-/.exec(headers.range ?? '') ?? [];
      return serve(bytes, `bytes=${start}-${Math.min(Number(start) + 3, 109)}`);
    });
    expect(Buffer.from(await target.fetchRange(descriptor, 100, 10)).equals(bytes.subarray(100, 110))).toBe(true);
    expect(server.seen.map(({ headers }) => headers.range)).toEqual([
      'bytes=100-109',
      'bytes=104-109',
      'bytes=108-109',
    ]);
  });
});
