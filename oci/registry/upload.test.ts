import { describe, expect, test } from 'vitest';
import { bytesSource } from '../../base/byte-source.ts';
import { fileSource } from '../../disk/disk-file.ts';
import { pieces, rejects } from '../contract.ts';
import { type Answer, type Script, startScripted } from './testing/scripted-server.ts';
import { bytes, descriptor, missing, scripted } from './testing/scripted-target.ts';

describe('uploads', () => {
  /** A registry that takes uploads; `put` answers the n-th PUT of a blob. */
  const taking =
    (put: (count: number, body: Buffer) => Answer, location = '/v2/app/blobs/uploads/s?_state=a%20b%2Fc'): Script =>
    ({ method, body, url }, seen) => {
      if (method === 'HEAD') return missing;
      if (method === 'POST') return { status: 202, headers: { location } };
      if (method === 'DELETE') return { status: 204 };
      if (method === 'GET') return { status: 405 };
      expect(url).toContain('?_state=a%20b%2Fc&digest=sha256%3A');
      return put(seen.filter((request) => request.method === 'PUT').length, body);
    };

  test('HEAD, POST, one PUT with the length; the session’s query stays as it is', async () => {
    const { target, server } = await scripted(taking(() => ({ status: 201 })));
    expect(await target.push(descriptor, pieces(bytes, 1000))).toBe('pushed');
    expect(server.seen.map(({ method }) => method)).toEqual(['HEAD', 'POST', 'PUT']);
    expect(server.seen[2]!.headers['content-length']).toBe('10000');
    expect(server.seen[2]!.headers['transfer-encoding']).toBeUndefined();
    expect(server.seen[2]!.body.equals(bytes)).toBe(true);
  });

  test.each([
    ['503', { status: 503 }, ['GET', 'DELETE']],
    ['a reset', { reset: true }, ['GET', 'DELETE']],
    ['404, the session is gone', { status: 404 }, []],
  ])('an upload answered by %s begins again with a session of its own', async (_, answer, between) => {
    const { target, server } = await scripted(taking((count) => (count === 1 ? answer : { status: 201 })));
    expect(await target.push(descriptor, pieces(bytes, 1000))).toBe('pushed');
    expect(server.seen.map(({ method }) => method)).toEqual(['HEAD', 'POST', 'PUT', 'HEAD', ...between, 'POST', 'PUT']);
    expect(server.seen.at(-1)!.body.equals(bytes)).toBe(true);
  });

  test('an upload whose answer was lost is found to exist', async () => {
    let stored = false;
    const { target, server } = await scripted(({ method }) => {
      if (method === 'HEAD') return stored ? { headers: { 'content-length': '10000' } } : missing;
      if (method === 'POST') return { status: 202, headers: { location: '/v2/app/blobs/uploads/s' } };
      stored = true;
      return { reset: true };
    });
    expect(await target.push(descriptor, pieces(bytes, 1000))).toBe('pushed');
    expect(server.seen.map(({ method }) => method)).toEqual(['HEAD', 'POST', 'PUT', 'HEAD']);
  });

  test('413 of a proxy says what to raise', async () => {
    const { target, server } = await scripted(taking(() => ({ status: 413, body: '<center>nginx</center>' })));
    const error = await rejects(target.push(descriptor, bytesSource(bytes)), 'registry-error');
    expect(`${error.found} ${error.hint}`).toMatch(/413: <center>nginx.*client_max_body_size/);
    expect(server.seen.filter(({ method }) => method === 'PUT').length).toBe(1);
  });

  test('wrong content is reported as such, and its last piece is never sent', async () => {
    const { target, server } = await scripted(taking(() => ({ status: 201 })));
    const damaged = bytes.slice();
    damaged[9000]! ^= 1;
    await rejects(target.push(descriptor, pieces(damaged, 1000)), 'digest-mismatch');
    expect(server.seen.filter(({ method }) => method === 'PUT').length).toBe(0);
  });

  test('a file that vanished is an io-error, not the registry’s fault', async () => {
    const { target, server } = await scripted(taking(() => ({ status: 201 })));
    const error = await rejects(target.push(descriptor, fileSource('/nonexistent/layer')), 'io-error');
    expect(error.where.path).toBe('/nonexistent/layer');
    expect(server.seen.filter(({ method }) => method === 'POST').length).toBe(1);
  });

  test('a location on another host gets the bytes, not the credentials', async () => {
    const store = await startScripted(() => ({ status: 201 }));
    const { target } = await scripted(
      ({ method, headers }) => {
        if (!headers.authorization) return { status: 401, headers: { 'www-authenticate': 'Basic realm="x"' } };
        return method === 'HEAD' ? { status: 404 } : { status: 202, headers: { location: `${store.url}/up` } };
      },
      { username: 'ann', password: 'hunter22' },
    );
    await target.push(descriptor, bytesSource(bytes));
    expect(store.seen[0]!.headers.authorization).toBeUndefined();
    expect(store.seen[0]!.body.equals(bytes)).toBe(true);
    await store.stop();
  });

  test('a session without a Location is an error', async () => {
    const { target } = await scripted(({ method }) => (method === 'HEAD' ? missing : { status: 202 }));
    await rejects(target.push(descriptor, bytesSource(bytes)), 'registry-error');
  });

  test('a repository that must be created first: 404 is shown, not retried (ECR)', async () => {
    const body = '{"errors":[{"code":"NAME_UNKNOWN","message":"The repository does not exist"}]}';
    const { target, server } = await scripted(() => ({ status: 404, body }));
    const error = await rejects(target.push(descriptor, bytesSource(bytes)), 'not-found');
    expect(error.found).toBe('HTTP 404: NAME_UNKNOWN: The repository does not exist');
    expect(error.hint).toContain('created');
    expect(server.seen.length).toBe(2);
  });

  test('a mount that the registry turns into an upload is cancelled', async () => {
    const { target, server } = await scripted(taking(() => ({ status: 201 })));
    expect(await target.mount(descriptor, 'other/app')).toBe(false);
    expect(server.log()).toEqual([
      `POST /v2/app/blobs/uploads/?mount=${encodeURIComponent(descriptor.digest)}&from=other%2Fapp`,
      'DELETE /v2/app/blobs/uploads/s?_state=a%20b%2Fc',
    ]);
  });
});
