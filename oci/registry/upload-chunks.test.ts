import { describe, expect, test } from 'vitest';
import { type BlobSource, bytesSource } from '../../base/byte-source.ts';
import { blob, noise, pieces, rejects } from '../contract.ts';
import type { RegistryOptions } from './registry-options.ts';
import { bytes, descriptor, scripted } from './testing/scripted-target.ts';
import { type UploadQuirks, uploadRegistry } from './testing/upload-registry.ts';
import { reportedOffset } from './upload-session.ts';

const MIB = 1 << 20;

async function setUp(quirks: UploadQuirks = {}, options: RegistryOptions = {}) {
  const { script, store } = uploadRegistry(quirks);
  const warnings: string[] = [];
  const made = await scripted(script, { warn: (message) => warnings.push(message), ...options });
  const { seen } = made.server;
  return {
    ...made,
    store,
    warnings,
    methods: () => seen.map(({ method }) => method).join(' '),
    /** The parts that were sent: `METHOD range bytes`. */
    parts: () =>
      seen
        .filter(({ method }) => method === 'PATCH' || method === 'PUT')
        .map(({ method, headers, body }) => `${method} ${headers['content-range'] ?? '-'} ${body.length}`),
  };
}

/** Counts how often content is read from its start. */
function counted(content: Uint8Array, step: number): { source: BlobSource; opened: () => number } {
  let opened = 0;
  return {
    source: {
      open() {
        opened += 1;
        return pieces(content, step).open();
      },
    },
    opened: () => opened,
  };
}

describe('chunks (GHCR takes at most 4 MiB a PATCH)', () => {
  test.each([1, 321, 4096, 10_000])(
    'pieces of %i bytes become chunks of 3000, the last one in the PUT',
    async (step) => {
      const { target, store, parts, methods } = await setUp({}, { chunkSize: 3000 });
      const { source, opened } = counted(bytes, step);
      expect(await target.push(descriptor, source)).toBe('pushed');
      expect(methods()).toBe('HEAD POST PATCH PATCH PATCH PUT');
      expect(parts()).toEqual([
        'PATCH 0-2999 3000',
        'PATCH 3000-5999 3000',
        'PATCH 6000-8999 3000',
        'PUT 9000-9999 1000',
      ]);
      expect(store.blobs.get(descriptor.digest)?.equals(bytes)).toBe(true);
      expect(opened()).toBe(1);
    },
  );

  test.each([
    [9999, 'PATCH 0-9998 9999, PUT 9999-9999 1'],
    [10_000, 'PUT - 10000'],
    [10_001, 'PUT - 10000'],
    [5000, 'PATCH 0-4999 5000, PUT 5000-9999 5000'],
  ])('a chunk size of %i', async (chunkSize, expected) => {
    const { target, parts } = await setUp({}, { chunkSize });
    await target.push(descriptor, bytesSource(bytes));
    expect(parts().join(', ')).toBe(expected);
  });

  test('OCI-Chunk-Min-Length is honoured', async () => {
    const { target, parts } = await setUp({ post: { 'oci-chunk-min-length': '4000' } }, { chunkSize: 100 });
    await target.push(descriptor, pieces(bytes, 1000));
    expect(parts()).toEqual(['PATCH 0-3999 4000', 'PATCH 4000-7999 4000', 'PUT 8000-9999 2000']);
  });

  test.each([0, 1, -5, Number.NaN])('a chunk size of %d is a usage error', async (chunkSize) => {
    await rejects(setUp({}, { chunkSize }), 'usage');
  });

  test('each answer’s Location leads to the next request (docker-registry signs the offset into it)', async () => {
    const { target, server } = await setUp({}, { chunkSize: 4000 });
    await target.push(descriptor, bytesSource(bytes));
    expect(server.log().slice(2)).toEqual([
      'PATCH /v2/app/blobs/uploads/s1?_state=0%2F',
      'PATCH /v2/app/blobs/uploads/s1?_state=4000%2F',
      `PUT /v2/app/blobs/uploads/s1?_state=8000%2F&digest=${encodeURIComponent(descriptor.digest)}`,
    ]);
  });

  test('wrong content is an error before the last chunk, and the session is cancelled', async () => {
    const { target, store, methods } = await setUp({}, { chunkSize: 3000 });
    const damaged = bytes.slice();
    damaged[5] = (damaged[5] ?? 0) ^ 1;
    await rejects(target.push(descriptor, pieces(damaged, 1000)), 'digest-mismatch');
    expect(methods()).toBe('HEAD POST PATCH PATCH PATCH DELETE');
    expect(store.sessions.size).toBe(0);
  });

  test('a token that ends between two chunks is renewed (ECR, GitLab: five minutes)', async () => {
    let now = 0;
    let issued = 0;
    const upload = uploadRegistry();
    const { target, server } = await scripted(
      (request, seen) => {
        if (request.url.startsWith('/token')) {
          issued += 1;
          return { body: JSON.stringify({ token: `token-${issued}`, expires_in: 300 }) };
        }
        if (request.headers.authorization !== `Bearer token-${issued}` || issued === 0) {
          return {
            status: 401,
            headers: { 'www-authenticate': `Bearer realm="http://${request.headers.host}/token"` },
          };
        }
        if (request.method === 'PATCH') now += 200_000;
        return upload.script(request, seen);
      },
      { chunkSize: 2500, runtime: { now: () => now } },
    );
    await target.push(descriptor, pieces(bytes, 1000));
    expect(upload.store.blobs.has(descriptor.digest)).toBe(true);
    expect(issued).toBe(2);
    expect(server.seen.filter(({ method }) => method === 'PATCH').length).toBe(3);
  });

  test('a token that is refused between two chunks: the chunk is sent again with a new one', async () => {
    let issued = 0;
    const upload = uploadRegistry();
    const { target } = await scripted(
      (request, seen) => {
        if (request.url.startsWith('/token')) {
          issued += 1;
          return { body: JSON.stringify({ token: `token-${issued}`, expires_in: 300 }) };
        }
        const late = seen.filter(({ method }) => method === 'PATCH').length >= 2;
        if (request.headers.authorization !== `Bearer token-${late ? 2 : 1}`) {
          return {
            status: 401,
            headers: { 'www-authenticate': `Bearer realm="http://${request.headers.host}/token"` },
          };
        }
        return upload.script(request, seen);
      },
      { chunkSize: 2500 },
    );
    await target.push(descriptor, pieces(bytes, 1000));
    expect(upload.store.blobs.get(descriptor.digest)?.equals(bytes)).toBe(true);
  });
});

describe('resuming', () => {
  test('a chunk that is taken in part: the 416 to the next one says where to go on', async () => {
    const { target, parts, store } = await setUp(
      { keeps: (_, count) => (count === 2 ? 500 : 3000) },
      { chunkSize: 3000 },
    );
    const { source, opened } = counted(bytes, 700);
    await target.push(descriptor, source);
    expect(parts()).toEqual([
      'PATCH 0-2999 3000',
      'PATCH 3000-5999 3000',
      'PATCH 6000-8999 3000',
      'PATCH 3500-6499 3000',
      'PATCH 6500-9499 3000',
      'PUT 9500-9999 500',
    ]);
    expect(store.blobs.get(descriptor.digest)?.equals(bytes)).toBe(true);
    expect(opened()).toBe(2);
  });

  test.each([
    ['a reset', { reset: true }],
    ['503', { status: 503 }],
    ['429', { status: 429, headers: { 'retry-after': '0' } }],
  ])('%s after a chunk was taken: the upload status has the offset to go on from', async (_, answer) => {
    const quirks: UploadQuirks = {
      afterwards: ({ method }, count) => (method === 'PATCH' && count === 2 ? answer : undefined),
    };
    const { target, methods, parts } = await setUp(quirks, { chunkSize: 3000 });
    await target.push(descriptor, pieces(bytes, 1000));
    expect(methods()).toBe('HEAD POST PATCH PATCH HEAD GET PATCH PUT');
    expect(parts().slice(2)).toEqual(['PATCH 6000-8999 3000', 'PUT 9000-9999 1000']);
  });

  test('416 has the offset in its Range (zot, GHCR)', async () => {
    let lost = true;
    const quirks: UploadQuirks = {
      instead: ({ method }, count) =>
        method === 'PATCH' && count === 3 ? { status: 416, headers: { range: '0-2999' } } : undefined,
      keeps: ({ method, body }, count) => {
        // The second chunk was acknowledged and then lost with the machine that held it.
        if (method === 'PATCH' && count === 2 && lost) {
          lost = false;
          return 0;
        }
        return body.length;
      },
      afterwards: ({ method }, count) =>
        method === 'PATCH' && count === 2 ? { status: 202, headers: { range: '0-5999' } } : undefined,
    };
    const { target, store, parts } = await setUp(quirks, { chunkSize: 3000 });
    await target.push(descriptor, pieces(bytes, 1000));
    expect(parts().slice(1)).toEqual([
      'PATCH 3000-5999 3000',
      'PATCH 6000-8999 3000',
      'PATCH 3000-5999 3000',
      'PATCH 6000-8999 3000',
      'PUT 9000-9999 1000',
    ]);
    expect(store.blobs.get(descriptor.digest)?.equals(bytes)).toBe(true);
  });

  test('without a reported offset the blob is sent from its start, and the old session is cancelled', async () => {
    const quirks: UploadQuirks = {
      tellsProgress: false,
      afterwards: ({ method }, count) => (method === 'PATCH' && count === 2 ? { reset: true } : undefined),
    };
    const { target, store, methods } = await setUp(quirks, { chunkSize: 3000 });
    await target.push(descriptor, pieces(bytes, 1000));
    expect(methods()).toBe('HEAD POST PATCH PATCH HEAD GET DELETE POST PATCH PATCH PATCH PUT');
    expect(store.blobs.get(descriptor.digest)?.equals(bytes)).toBe(true);
    expect(store.sessions.size).toBe(0);
  });

  test('a whole PUT that broke goes on where the status says', async () => {
    const quirks: UploadQuirks = {
      keeps: ({ method }, count) => (method === 'PUT' && count === 1 ? 4321 : bytes.length),
      instead: () => undefined,
    };
    // The first PUT is kept in part and answered by 400 in the store; the test turns that into a cut connection.
    const { script, store } = uploadRegistry(quirks);
    const { target, server } = await scripted((request, seen) => {
      const answer = script(request, seen);
      return answer.status === 400 ? { reset: true } : answer;
    });
    await target.push(descriptor, pieces(bytes, 1000));
    expect(store.blobs.get(descriptor.digest)?.equals(bytes)).toBe(true);
    expect(server.seen.at(-1)?.headers['content-range']).toBe('4321-9999');
  });

  test('everything arrived but the last answer: a PUT without bytes closes it', async () => {
    const quirks: UploadQuirks = {
      keeps: ({ method }, count) => (method === 'PATCH' && count === 2 ? 3000 : bytes.length),
    };
    const { script, store } = uploadRegistry(quirks);
    const { target, server } = await scripted(
      (request, seen) => {
        const puts = seen.filter(({ method }) => method === 'PUT').length;
        if (request.method === 'PUT' && puts === 1) {
          // Kept as a PATCH would be, and then the connection broke.
          script({ ...request, method: 'PATCH' }, seen);
          return { reset: true };
        }
        return script(request, seen);
      },
      { chunkSize: 6000 },
    );
    await target.push(descriptor, pieces(bytes, 1000));
    expect(server.seen.at(-1)?.body.length).toBe(0);
    expect(store.blobs.get(descriptor.digest)?.equals(bytes)).toBe(true);
  });

  test('a registry that lies about what it kept gets the blob once more from the start', async () => {
    let lied = false;
    const { script, store } = uploadRegistry();
    const { target } = await scripted(
      (request, seen) => {
        if (request.method === 'PATCH' && !lied) {
          lied = true;
          script({ ...request, body: Buffer.alloc(request.body.length) }, seen);
          return { reset: true };
        }
        return script(request, seen);
      },
      { chunkSize: 6000 },
    );
    await target.push(descriptor, pieces(bytes, 1000));
    expect(store.blobs.get(descriptor.digest)?.equals(bytes)).toBe(true);
    expect(store.sessions.size).toBe(0);
  });

  test('progress counts: more failures than attempts are borne while chunks arrive', async () => {
    const quirks: UploadQuirks = {
      instead: ({ method }, count) => (method === 'PATCH' && count % 2 === 1 ? { status: 503 } : undefined),
    };
    const { target, store } = await setUp(quirks, { chunkSize: 500 });
    await target.push(descriptor, pieces(bytes, 1000));
    expect(store.blobs.has(descriptor.digest)).toBe(true);
  });

  test('no progress ends after the attempts, with the registry’s words and no session left', async () => {
    const quirks: UploadQuirks = {
      instead: ({ method }) => (method === 'PATCH' ? { status: 503, body: 'on fire' } : undefined),
    };
    const { target, store, parts } = await setUp(quirks, { chunkSize: 3000 });
    const error = await rejects(target.push(descriptor, pieces(bytes, 1000)), 'registry-error');
    expect(error.found).toBe('HTTP 503: on fire');
    expect(parts().length).toBe(8);
    expect(store.sessions.size).toBe(0);
  });

  test('a registry that keeps nothing is an error, not an endless loop', async () => {
    const { target, store, parts } = await setUp({ keeps: () => 0 }, { chunkSize: 3000 });
    const error = await rejects(target.push(descriptor, pieces(bytes, 1000)), 'registry-error');
    expect(error.found).toContain('HTTP 416');
    expect(parts().length).toBe(16);
    expect(store.sessions.size).toBe(0);
  });

  test.each(['0-2999', '0-0', '0-99', 'bytes=0-2999', '0-99999', 'nonsense', '5-9'])(
    'a 202 with the Range %s moves nothing: what was sent counts (ECR repeats that of the first chunk)',
    async (range) => {
      const quirks: UploadQuirks = {
        afterwards: ({ method, url }) =>
          method === 'PATCH' ? { status: 202, headers: { location: url, range } } : undefined,
      };
      const { target, store, parts } = await setUp(quirks, { chunkSize: 3000 });
      await target.push(descriptor, pieces(bytes, 700));
      expect(parts()).toEqual([
        'PATCH 0-2999 3000',
        'PATCH 3000-5999 3000',
        'PATCH 6000-8999 3000',
        'PUT 9000-9999 1000',
      ]);
      expect(store.blobs.get(descriptor.digest)?.equals(bytes)).toBe(true);
    },
  );

  test('a Range that lies behind and was right: the refused PUT has the session asked where it is', async () => {
    // Takes each chunk at the end of what it has, whatever Content-Range says, and finds the digest wrong at the end.
    const { script, store } = uploadRegistry({ keeps: (_, count) => (count === 2 ? 500 : 3000) });
    let sent = 0;
    const { target } = await scripted(
      (request, seen) => {
        sent += request.method === 'PATCH' ? 1 : 0;
        const { 'content-range': range, ...headers } = request.headers;
        if (range === undefined || sent > 3) return script(request, seen);
        if (request.method === 'PUT') return { status: 400, body: '{"errors":[{"code":"DIGEST_INVALID"}]}' };
        return script({ ...request, headers }, seen);
      },
      { chunkSize: 3000 },
    );
    await target.push(descriptor, pieces(bytes, 1000));
    expect(store.blobs.get(descriptor.digest)?.equals(bytes)).toBe(true);
  });

  test.each([
    ['0-1023', 1024],
    ['bytes=0-1023', 1024],
    ['bytes 0-9', 10],
    ['0-0', 0],
    ['5-9', undefined],
    ['0--1', undefined],
    ['0-99999999999999999999', undefined],
    ['', undefined],
    [undefined, undefined],
  ])('the Range header %j means %j', (text, offset) => expect(reportedOffset(text)).toBe(offset));
});

describe('the other way', () => {
  const large = noise(5 * MIB + 7, 3);
  const largeBlob = blob(large);

  test('413 to a whole PUT: chunks of 4 MiB, also for the next blob (Cloudflare: 100 MB)', async () => {
    const limit = 4 * MIB;
    const quirks: UploadQuirks = { instead: ({ body }) => (body.length > limit ? { status: 413 } : undefined) };
    const { target, parts, store, warnings } = await setUp(quirks);
    await target.push(largeBlob, pieces(large, 100_000));
    const next = noise(5 * MIB, 4);
    await target.push(blob(next), pieces(next, 100_000));
    expect(parts()).toEqual([
      `PUT - ${large.length}`,
      `PATCH 0-${limit - 1} ${limit}`,
      `PUT ${limit}-${large.length - 1} ${large.length - limit}`,
      `PATCH 0-${limit - 1} ${limit}`,
      `PUT ${limit}-${next.length - 1} ${next.length - limit}`,
    ]);
    expect(store.blobs.size).toBe(2);
    expect(store.sessions.size).toBe(0);
    expect(warnings).toEqual([expect.stringContaining('HTTP 413')]);
  });

  test('413 to 4 MiB as well: chunks of 1 MiB (the default of nginx)', async () => {
    const quirks: UploadQuirks = { instead: ({ body }) => (body.length > MIB ? { status: 413 } : undefined) };
    const { target, parts, store } = await setUp(quirks);
    await target.push(largeBlob, pieces(large, 100_000));
    expect(parts().length).toBe(2 + 6);
    expect(store.blobs.get(largeBlob.digest)?.equals(large)).toBe(true);
  });

  test('413 to everything is an error that names the limit to raise', async () => {
    const quirks: UploadQuirks = {
      instead: ({ body }) => (body.length > 0 ? { status: 413, body: 'nginx' } : undefined),
    };
    const { target, parts, store } = await setUp(quirks);
    const error = await rejects(target.push(largeBlob, pieces(large, 100_000)), 'registry-error');
    expect(`${error.found} ${error.hint}`).toMatch(/413: nginx.*client_max_body_size/);
    expect(parts().length).toBe(3);
    expect(store.sessions.size).toBe(0);
  });

  test('416 to a chunk above 4 MiB: chunks of 4 MiB (GHCR)', async () => {
    const quirks: UploadQuirks = {
      instead: ({ method, body }) => (method === 'PATCH' && body.length > 4 * MIB ? { status: 416 } : undefined),
    };
    const { target, parts, store } = await setUp(quirks, { chunkSize: 5 * MIB });
    await target.push(largeBlob, pieces(large, 100_000));
    expect(parts().map((part) => part.split(' ').at(-1))).toEqual(['5242880', '4194304', `${large.length - 4 * MIB}`]);
    expect(store.blobs.size).toBe(1);
  });

  test.each([400, 405, 416, 501])(
    '%i to the first chunk: the blob in one PUT (registries without chunks)',
    async (status) => {
      const quirks: UploadQuirks = { instead: ({ method }) => (method === 'PATCH' ? { status } : undefined) };
      const { target, methods, store, warnings } = await setUp(quirks, { chunkSize: 3000 });
      await target.push(descriptor, pieces(bytes, 1000));
      expect(methods()).toBe('HEAD POST PATCH DELETE POST PUT');
      expect(store.blobs.has(descriptor.digest)).toBe(true);
      expect(warnings).toEqual([expect.stringContaining('whole')]);
    },
  );

  test('no chunks and no large PUT: the last refusal is reported, after each way was tried once', async () => {
    const quirks: UploadQuirks = {
      instead: ({ method, body }) => {
        if (method === 'PATCH') return { status: 405, body: 'no chunks' };
        return body.length > MIB ? { status: 413, body: 'too large' } : undefined;
      },
    };
    const { target, parts } = await setUp(quirks);
    await rejects(target.push(largeBlob, pieces(large, 100_000)), 'registry-error');
    expect(parts().length).toBeLessThanOrEqual(4);
  });
});

test('an abort between chunks cancels the session', async () => {
  const controller = new AbortController();
  const quirks: UploadQuirks = {
    instead: ({ method }, count) => {
      if (method === 'PATCH' && count === 2) controller.abort();
      return undefined;
    },
  };
  const { target, store, methods } = await setUp(quirks, { chunkSize: 3000 });
  const { signal } = controller;
  await expect(target.push(descriptor, pieces(bytes, 1000), { signal })).rejects.toThrow(/abort/i);
  expect(methods()).toBe('HEAD POST PATCH PATCH DELETE');
  expect(store.sessions.size).toBe(0);
});
