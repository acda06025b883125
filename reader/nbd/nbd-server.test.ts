import { existsSync } from 'node:fs';
import { rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AccelError } from '../../base/error.ts';
import { withTempDirectory } from '../../tests/support/tools.ts';
import { type NbdEvent, type NbdServer, serveNbd } from './nbd-server.ts';
import { CHUNK, COMMAND, COMMAND_FLAG, INFO, OPTION, OPTION_MAGIC, OPTION_REPLY, optionHeader } from './protocol.ts';
import { MemoryDevice } from './testing/devices.ts';
import { assemble, contextQuery, goData, TestClient } from './testing/nbd-client.ts';

const MIB = 1 << 20;
const SIZE = 64 * MIB;
const RUNS = [
  { offset: 0, length: 5000 },
  { offset: 8192, length: 4096 },
  { offset: 16 * MIB, length: 3 * MIB },
  { offset: SIZE - 512, length: 512 },
];

let device: MemoryDevice;
let server: NbdServer;
let events: NbdEvent[];
const clients: TestClient[] = [];

beforeEach(async () => {
  device = new MemoryDevice(SIZE, RUNS);
  events = [];
  server = await serveNbd(device, {
    address: { host: '127.0.0.1', port: 0 },
    description: 'an image',
    onEvent: (event) => events.push(event),
  });
});

afterEach(async () => {
  for (const client of clients.splice(0)) client.close();
  await server.close();
});

async function keep(made: Promise<TestClient>): Promise<TestClient> {
  const client = await made;
  clients.push(client);
  return client;
}

const fresh = () => keep(TestClient.connect(server.address));
const simple = () => keep(TestClient.ready(server.address, 'simple'));
const structured = () => keep(TestClient.ready(server.address, 'structured'));

/** Another client is served as if nothing had happened. */
async function expectStillServing(): Promise<void> {
  const client = await structured();
  expect(Buffer.compare(await client.read(4000, 3000), device.bytes(4000, 3000))).toBe(0);
}

describe('negotiation', () => {
  it('lists the one export, with the empty name', async () => {
    const client = await fresh();
    client.flags(3);
    const [entry, end] = await client.option(OPTION.list);
    expect([entry?.type, entry?.data.toString('latin1')]).toEqual([OPTION_REPLY.server, '\0\0\0\0an image']);
    expect(end?.type).toBe(OPTION_REPLY.ack);
  });

  it('reports size, flags and block sizes, and the texts when requested', async () => {
    const client = await fresh();
    client.flags(3);
    const answers = await client.option(OPTION.info, goData('', [INFO.name, INFO.description]));
    expect(answers.map(({ type }) => type)).toEqual([3, 3, 3, 3, 1]);
    const [size, blocks, name, description] = answers.map(({ data }) => data);
    expect(size?.readBigUInt64BE(2)).toBe(BigInt(SIZE));
    // HAS_FLAGS, READ_ONLY, SEND_DF, CAN_MULTI_CONN
    expect(size?.readUInt16BE(10)).toBe(0x0183);
    expect([2, 6, 10].map((at) => blocks?.readUInt32BE(at))).toEqual([1, 4096, 32 * MIB]);
    expect(name?.toString('latin1')).toBe('\0\u0001');
    expect(description?.toString('latin1')).toBe('\0\u0002an image');
  });

  it.each([
    ['no_zeroes', 3, 10],
    ['zeroes', 1, 134],
  ])('export_name with %s', async (_name, flags, length) => {
    const client = await fresh();
    client.flags(flags);
    client.socket.write(optionHeader.encode({ magic: OPTION_MAGIC, option: OPTION.exportName, length: 0 }));
    const reply = await client.input.readAll(length);
    expect(reply.readBigUInt64BE()).toBe(BigInt(SIZE));
    client.ask({ offset: 10, length: 5, cookie: 9 });
    expect(await client.simple(5)).toEqual({ error: 0, cookie: 9, data: Buffer.from(device.bytes(10, 5)) });
  });

  it.each([
    ['an option that nobody knows', 99, Buffer.from('whatever'), OPTION_REPLY.unsupported],
    ['TLS', 5, Buffer.alloc(0), OPTION_REPLY.unsupported],
    ['another name', OPTION.go, goData('other'), OPTION_REPLY.unknown],
    ['another name for contexts', OPTION.setMetaContext, contextQuery('x', []), OPTION_REPLY.invalid],
    ['contexts before structured replies', OPTION.listMetaContext, contextQuery('', []), OPTION_REPLY.invalid],
    ['a name longer than the data', OPTION.info, Buffer.from('ffffffff0000', 'hex'), OPTION_REPLY.invalid],
    ['more infos than the data', OPTION.go, Buffer.from('00000000ffff', 'hex'), OPTION_REPLY.invalid],
    ['no data at all', OPTION.go, Buffer.alloc(0), OPTION_REPLY.invalid],
    ['data behind the data', OPTION.go, Buffer.concat([goData(), Buffer.alloc(1)]), OPTION_REPLY.invalid],
    ['4,294,967,295 queries', OPTION.setMetaContext, Buffer.from('00000000ffffffff', 'hex'), OPTION_REPLY.invalid],
    ['data with LIST', OPTION.list, Buffer.alloc(1), OPTION_REPLY.invalid],
    ['data with STRUCTURED_REPLY', OPTION.structuredReply, Buffer.alloc(1), OPTION_REPLY.invalid],
  ])('refuses %s and goes on', async (_name, option, data, type) => {
    const client = await fresh();
    client.flags(3);
    expect((await client.option(option, data)).map((answer) => answer.type)).toEqual([type]);
    expect((await client.option(OPTION.go, goData())).at(-1)?.type).toBe(OPTION_REPLY.ack);
  });

  it.each([
    ['its name', ['base:allocation'], 2],
    ['its namespace, when listing', ['base:'], 2],
    ['nothing, when listing', [], 2],
    ['another context', ['qemu:dirty-bitmap:x'], 1],
  ])('lists the context for %s', async (_name, queries, answers) => {
    const client = await fresh();
    client.flags(3);
    await client.option(OPTION.structuredReply);
    expect(await client.option(OPTION.listMetaContext, contextQuery('', queries))).toHaveLength(answers);
  });

  it('acknowledges the wish to end, and ends', async () => {
    const client = await fresh();
    client.flags(3);
    expect(await client.option(OPTION.abort)).toEqual([{ type: OPTION_REPLY.ack, data: Buffer.alloc(0) }]);
    await client.ended();
    expect(events.map(({ type }) => type)).not.toContain('client-failed');
  });
});

describe('reads', () => {
  it.each([
    ['the first byte', 0, 1],
    ['the last byte', SIZE - 1, 1],
    ['nothing at all', 100, 0],
    ['nothing, at the very end', SIZE, 0],
    ['data, hole, data', 0, 20_000],
    ['a hole', 1 * MIB, 2 * MIB],
    ['hole, data, hole, in pieces', 15 * MIB, 6 * MIB],
    ['the largest', 0, 32 * MIB],
  ])('%s', async (_name, offset, length) => {
    const expected = device.bytes(offset, length);
    const one = await simple();
    one.ask({ offset, length });
    expect(Buffer.compare((await one.simple(length)).data, expected)).toBe(0);
    const other = await structured();
    expect(Buffer.compare(await other.read(offset, length), expected)).toBe(0);
    other.ask({ offset, length, flags: COMMAND_FLAG.df });
    const whole = await other.chunks();
    expect(whole).toHaveLength(1);
    expect(Buffer.compare(assemble(whole, offset, length), expected)).toBe(0);
  });

  it('does not read holes, nor send their zeros', async () => {
    const client = await structured();
    client.ask({ offset: 1 * MIB, length: 15 * MIB + 100 });
    expect((await client.chunks()).map(({ type, payload }) => [type, payload.length])).toEqual([
      [CHUNK.offsetHole, 12],
      [CHUNK.offsetData, 108],
    ]);
    expect(device.reads).toEqual([{ offset: 16 * MIB, length: 100 }]);
  });

  it.each([
    ['one byte past the end', { offset: SIZE - 10, length: 11 }, 22],
    ['an offset past 2^53', { offset: 2n ** 64n - 1n, length: 1 }, 22],
    ['more than 32 MiB', { offset: 0, length: 32 * MIB + 1 }, 22],
    ['the largest length', { offset: 0, length: 2 ** 32 - 1 }, 22],
    ['an unknown flag', { offset: 0, length: 1, flags: 0x8000 }, 22],
    ['an unknown command', { type: 77 }, 22],
    ['a flush, which was not offered', { type: COMMAND.flush }, 22],
    ['a trim', { type: COMMAND.trim, length: 4096 }, 1],
    ['writing zeros', { type: COMMAND.writeZeroes, length: 4096 }, 1],
  ])('%s is an error, and the next request is served', async (_name, asked, error) => {
    const one = await simple();
    one.ask({ ...asked, cookie: 5 });
    expect(await one.simple(0)).toMatchObject({ error, cookie: 5 });
    one.ask({ offset: 0, length: 10 });
    expect((await one.simple(10)).error).toBe(0);
    const other = await structured();
    other.ask({ ...asked, cookie: 6 });
    const [chunk] = await other.chunks();
    expect([chunk?.cookie, chunk?.type, chunk?.payload.readUInt32BE()]).toEqual([6, CHUNK.error, error]);
    expect(await other.read(0, 10)).toHaveLength(10);
  });

  it('a write is read over and refused', async () => {
    const client = await simple();
    client.ask({ type: COMMAND.write, length: 200_000 });
    client.socket.write(Buffer.alloc(200_000, 0x25));
    expect((await client.simple(0)).error).toBe(1);
    client.ask({ offset: 0, length: 10 });
    expect((await client.simple(10)).error).toBe(0);
  });

  it('a device that fails is an input/output error with its reason, and a line for the log', async () => {
    device.beforeRead = (offset) => {
      if (offset === 17 * MIB) throw new AccelError('registry-error', 'the registry has gone fishing');
    };
    const client = await structured();
    client.ask({ offset: 16 * MIB, length: 2 * MIB });
    const chunks = await client.chunks();
    expect(chunks.map(({ type }) => type)).toEqual([CHUNK.offsetData, CHUNK.error]);
    expect(chunks[1]?.payload.readUInt32BE()).toBe(5);
    expect(chunks[1]?.payload.toString()).toContain('gone fishing');
    const one = await simple();
    one.ask({ offset: 17 * MIB, length: 1 });
    expect((await one.simple(1)).error).toBe(5);
    expect(events.filter(({ type }) => type === 'read-failed')).toMatchObject([
      { client: 1, offset: 17 * MIB, length: MIB, error: { code: 'registry-error' } },
      { client: 2, offset: 17 * MIB, length: 1 },
    ]);
    device.beforeRead = () => undefined;
    one.ask({ offset: 17 * MIB, length: 1 });
    expect((await one.simple(1)).error).toBe(0);
  });
});

describe('block status', () => {
  const extents = (payload: Buffer): number[][] =>
    Array.from({ length: (payload.length - 4) / 8 }, (_, i) => [
      payload.readUInt32BE(4 + i * 8),
      payload.readUInt32BE(8 + i * 8),
    ]);

  it('reports data and holes, cut to the request', async () => {
    const client = await structured();
    client.ask({ type: COMMAND.blockStatus, offset: 4000, length: 16 * MIB });
    const [chunk] = await client.chunks();
    expect(chunk?.payload.readUInt32BE()).toBe(1);
    expect(extents(chunk!.payload)).toEqual([
      [1000, 0],
      [3192, 3],
      [4096, 0],
      [16 * MIB - 12_288, 3],
      [4000, 0],
    ]);
    expect(device.reads).toEqual([]);
  });

  it('reports one extent when one is requested', async () => {
    const client = await structured();
    client.ask({ type: COMMAND.blockStatus, offset: 5000, length: SIZE - 5000, flags: COMMAND_FLAG.reqOne });
    expect(extents((await client.chunks())[0]!.payload)).toEqual([[3192, 3]]);
  });

  it.each([
    ['no length', 0, 0],
    ['past the end', SIZE, 1],
  ])('refuses %s', async (_name, offset, length) => {
    const client = await structured();
    client.ask({ type: COMMAND.blockStatus, offset, length });
    expect((await client.chunks())[0]?.type).toBe(CHUNK.error);
  });

  it('refuses when no context was chosen', async () => {
    const client = await simple();
    client.ask({ type: COMMAND.blockStatus, offset: 0, length: 4096 });
    expect((await client.simple(0)).error).toBe(22);
  });

  it('is not offered for a device that does not know its holes', async () => {
    const plain = await serveNbd(
      { size: 4096, read: async (_offset, length) => new Uint8Array(length) },
      { address: { host: '127.0.0.1', port: 0 } },
    );
    try {
      const client = await keep(TestClient.connect(plain.address));
      client.flags(3);
      await client.option(OPTION.structuredReply);
      const answers = await client.option(OPTION.setMetaContext, contextQuery('', ['base:allocation']));
      expect(answers.map(({ type }) => type)).toEqual([OPTION_REPLY.ack]);
    } finally {
      await plain.close();
    }
  });
});

describe('clients that misbehave', () => {
  it.each<[string, (client: TestClient) => void]>([
    ['say nothing and leave', (client) => client.close()],
    ['send flags that nobody knows', (client) => client.flags(0xffff_ffff)],
    ['send garbage', (client) => client.socket.write(Buffer.alloc(100_000, 'GET / HTTP/1.1\r\n'))],
    ['leave inside of an option', (client) => client.socket.end(Buffer.from('00000003494841', 'hex'))],
    [
      'announce an option of 4 GiB',
      (client) => {
        client.flags(3);
        client.socket.write(optionHeader.encode({ magic: OPTION_MAGIC, option: 7, length: 2 ** 32 - 1 }));
      },
    ],
    [
      'ask for a name that cannot be refused',
      (client) => {
        client.flags(3);
        client.socket.write(optionHeader.encode({ magic: OPTION_MAGIC, option: OPTION.exportName, length: 1 }));
        client.socket.write('x');
      },
    ],
  ])('%s before the transmission', async (_name, misbehave) => {
    const client = await fresh();
    misbehave(client);
    await client.ended();
    await expectStillServing();
  });

  it.each<[string, (client: TestClient) => void]>([
    ['send garbage', (client) => client.ask({ magic: 0xdeadbeef })],
    ['announce a write of 4 GiB', (client) => client.ask({ type: COMMAND.write, length: 2 ** 32 - 1 })],
    [
      'leave inside of a write',
      (client) => {
        client.ask({ type: COMMAND.write, length: 1000 });
        client.socket.end(Buffer.alloc(10));
      },
    ],
    ['leave inside of a request', (client) => client.socket.end(Buffer.from('25609513', 'hex'))],
  ])('%s during the transmission', async (_name, misbehave) => {
    const client = await structured();
    misbehave(client);
    await client.ended();
    await expectStillServing();
    expect(events.map(({ type }) => type)).toContain('client-failed');
  });

  it('disappear while an answer is under way', async () => {
    let release: () => void = () => undefined;
    device.beforeRead = () => new Promise((resolve) => (release = resolve));
    const client = await structured();
    client.ask({ offset: 16 * MIB, length: MIB });
    await expect.poll(() => device.reads.length).toBe(1);
    client.socket.resetAndDestroy();
    device.beforeRead = () => undefined;
    await expectStillServing();
    release();
    await expect.poll(() => events.some((event) => event.type === 'disconnected' && event.client === 1)).toBe(true);
  });

  it('never read what they ask for: a bounded number of reads is done for them, and others are served', async () => {
    const client = await structured();
    for (let i = 0; i < 500; i++) client.ask({ offset: 16 * MIB, length: 3 * MIB, cookie: i });
    client.socket.pause();
    await expectStillServing();
    await new Promise((resolve) => setTimeout(resolve, 200));
    // 32 requests under way, each with a piece in memory, and what went into the sockets' buffers.
    expect(device.reads.length).toBeLessThan(60);
  });

  it('ask without end: 32 requests are under way, the others wait', async () => {
    device.beforeRead = () => new Promise(() => undefined);
    const client = await structured();
    for (let i = 0; i < 500; i++) client.ask({ offset: 16 * MIB, length: 1, cookie: i });
    await expect.poll(() => device.reads.length).toBe(32);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(device.reads.length).toBe(32);
  });

  it('random bytes after a good beginning do no harm', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 400 }), fc.boolean(), async (noise, late) => {
        const client = late ? await structured() : await fresh();
        client.socket.end(noise);
        await client.ended();
        client.close();
      }),
      { numRuns: 60 },
    );
    await expectStillServing();
  });
});

describe('many clients', () => {
  it('eight connections of random reads, many at a time on each, agree with the device', async () => {
    device.beforeRead = (offset) => new Promise((resolve) => setTimeout(resolve, offset % 7));
    await Promise.all(
      Array.from({ length: 8 }, async (_, seed) => {
        const client = await structured();
        const asked = Array.from({ length: 40 }, (_value, i) => {
          const offset = (seed * 7_919_113 + i * 1_234_577 + (i % 3) * 16 * MIB) % (SIZE - 100_000);
          return { cookie: i, offset, length: 1 + ((i * 31_337) % 99_999) };
        });
        for (const one of asked) client.ask(one);
        const answers = new Map<number, Awaited<ReturnType<TestClient['chunk']>>[]>();
        for (let done = 0; done < asked.length; ) {
          const chunk = await client.chunk();
          answers.set(chunk.cookie, [...(answers.get(chunk.cookie) ?? []), chunk]);
          done += chunk.flags & 1;
        }
        for (const { cookie, offset, length } of asked) {
          const found = assemble(answers.get(cookie) ?? [], offset, length);
          expect(Buffer.compare(found, device.bytes(offset, length))).toBe(0);
        }
      }),
    );
  });

  it('turns away more than it takes', async () => {
    const small = await serveNbd(device, { address: { host: '127.0.0.1', port: 0 }, maxConnections: 1 });
    try {
      await keep(TestClient.ready(small.address, 'simple'));
      await expect(TestClient.connect(small.address)).rejects.toThrow();
    } finally {
      await small.close();
    }
  });
});

describe('closing', () => {
  it('lets a request under way end, then cuts the connections', async () => {
    let release: () => void = () => undefined;
    device.beforeRead = () => new Promise((resolve) => (release = resolve));
    const client = await structured();
    const idle = await structured();
    client.ask({ offset: 16 * MIB, length: 1000 });
    await expect.poll(() => device.reads.length).toBe(1);
    const closed = server.close();
    await idle.ended();
    release();
    expect(Buffer.compare(assemble(await client.chunks(), 16 * MIB, 1000), device.bytes(16 * MIB, 1000))).toBe(0);
    await client.ended();
    await closed;
    await expect(TestClient.connect(server.address)).rejects.toThrow();
    expect(events.map(({ type }) => type)).not.toContain('client-failed');
  });

  it('does not wait for a device that never answers', async () => {
    device.beforeRead = () => new Promise(() => undefined);
    const client = await structured();
    client.ask({ offset: 16 * MIB, length: 1000 });
    await expect.poll(() => device.reads.length).toBe(1);
    await server.close();
    await client.ended();
  });
});

describe('a Unix socket', () => {
  it('is for this user alone, and gone in the end', async () => {
    await withTempDirectory(async (directory) => {
      const socket = join(directory, 'a b.sock');
      const unix = await serveNbd(device, { address: { socket } });
      expect(unix.uri).toBe(`nbd+unix:///?socket=${directory}/a%20b.sock`);
      expect((await stat(socket)).mode & 0o777).toBe(0o600);
      const client = await keep(TestClient.ready(unix.address, 'structured'));
      expect(await client.read(0, 10)).toEqual(device.bytes(0, 10));
      await expect(serveNbd(device, { address: { socket } })).rejects.toMatchObject({ code: 'usage' });
      await unix.close();
      expect(existsSync(socket)).toBe(false);
    });
  });

  it('takes the place of one that a killed server left, and of nothing else', async () => {
    await withTempDirectory(async (directory) => {
      const left = join(directory, 'left.sock');
      const killed = await serveNbd(device, { address: { socket: join(directory, 'killed.sock') } });
      await rename(join(directory, 'killed.sock'), left);
      await killed.close();
      const next = await serveNbd(device, { address: { socket: left } });
      await keep(TestClient.ready(next.address, 'simple'));
      await next.close();
      const file = join(directory, 'precious');
      await writeFile(file, 'x');
      await expect(serveNbd(device, { address: { socket: file } })).rejects.toMatchObject({ code: 'usage' });
      expect(existsSync(file)).toBe(true);
    });
  });
});

it('an address that is taken is an error that names it', async () => {
  const error = await serveNbd(device, { address: server.address }).catch((reason: unknown) => reason);
  expect(error).toMatchObject({ code: 'io-error', where: { address: expect.stringContaining('127.0.0.1:') } });
});
