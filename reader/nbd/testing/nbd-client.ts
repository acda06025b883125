/** A client that says exactly what a test wants said, sensible or not. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import type { NbdAddress } from '../nbd-server.ts';
import {
  CHUNK,
  chunkHeader,
  greeting,
  OPTION,
  OPTION_MAGIC,
  optionHeader,
  optionReply,
  REQUEST_MAGIC,
  request,
  simpleReply,
} from '../protocol.ts';
import { ByteInput } from '../socket-input.ts';

/** The answer to an option. */
export interface OptionAnswer {
  readonly type: number;
  readonly data: Buffer;
}

/** A chunk of a structured answer, or a simple answer as one. */
export interface Chunk {
  readonly cookie: number;
  readonly type: number;
  readonly flags: number;
  readonly payload: Buffer;
}

/** A request; what is left out is 0. */
export interface Asked {
  readonly type?: number;
  readonly flags?: number;
  readonly offset?: number | bigint;
  readonly length?: number;
  readonly cookie?: number;
  readonly magic?: number;
}

/** See the module's comment. Close it in the end. */
export class TestClient {
  readonly socket: Socket;
  readonly input: ByteInput;

  private constructor(socket: Socket) {
    this.socket = socket;
    this.input = new ByteInput(socket);
  }

  /** Connects and reads the greeting. */
  static async connect(address: NbdAddress): Promise<TestClient> {
    const socket = 'socket' in address ? connect(address.socket) : connect(address.port, address.host);
    await once(socket, 'connect');
    const client = new TestClient(socket);
    await client.input.readAll(greeting.size);
    return client;
  }

  /** Connects and negotiates up to the transmission. */
  static async ready(address: NbdAddress, how: 'simple' | 'structured'): Promise<TestClient> {
    const client = await TestClient.connect(address);
    client.flags(3);
    if (how === 'structured') {
      await client.option(OPTION.structuredReply);
      await client.option(OPTION.setMetaContext, contextQuery('', ['base:allocation']));
    }
    await client.option(OPTION.go, goData());
    return client;
  }

  /** Sends the 32 bits of flags. */
  flags(value: number): void {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(value);
    this.socket.write(bytes);
  }

  /** Sends an option and collects its answers up to the last, which is an acknowledgement or an error. */
  async option(option: number, data: Uint8Array = new Uint8Array(0)): Promise<OptionAnswer[]> {
    this.socket.write(optionHeader.encode({ magic: OPTION_MAGIC, option, length: data.length }));
    this.socket.write(data);
    const answers: OptionAnswer[] = [];
    for (;;) {
      const head = optionReply.read(await this.input.readAll(optionReply.size));
      if (head.option !== option) throw new Error(`an answer to option ${head.option} instead of ${option}`);
      answers.push({ type: head.type, data: await this.input.readAll(head.length) });
      if (head.type === 1 || head.type >= 2 ** 31) return answers;
    }
  }

  /** Sends a request and nothing after that. */
  ask(asked: Asked): void {
    const bytes = Buffer.from(
      request.encode({
        magic: asked.magic ?? REQUEST_MAGIC,
        flags: asked.flags ?? 0,
        type: asked.type ?? 0,
        cookie: cookieOf(asked.cookie ?? 0),
        offset: 0,
        length: asked.length ?? 0,
      }),
    );
    bytes.writeBigUInt64BE(BigInt(asked.offset ?? 0), request.offsets.offset);
    this.socket.write(bytes);
  }

  /** Reads a simple answer with `length` bytes of data, which an error does not have. */
  async simple(length: number): Promise<{ readonly error: number; readonly cookie: number; readonly data: Buffer }> {
    const head = simpleReply.read(await this.input.readAll(simpleReply.size));
    return {
      error: head.error,
      cookie: numberOf(head.cookie),
      data: head.error === 0 ? await this.input.readAll(length) : Buffer.alloc(0),
    };
  }

  /** Reads one chunk. */
  async chunk(): Promise<Chunk> {
    const head = chunkHeader.read(await this.input.readAll(chunkHeader.size));
    const payload = await this.input.readAll(head.length);
    return { cookie: numberOf(head.cookie), type: head.type, flags: head.flags, payload };
  }

  /** Reads the chunks of one answer while no other is under way. */
  async chunks(): Promise<Chunk[]> {
    const all: Chunk[] = [];
    do all.push(await this.chunk());
    while ((all.at(-1)!.flags & 1) === 0);
    return all;
  }

  /** A structured read of one request, put together; throws for an error chunk. */
  async read(offset: number, length: number): Promise<Uint8Array> {
    this.ask({ offset, length });
    return assemble(await this.chunks(), offset, length);
  }

  /** Resolves when the server has ended the connection; what it sends before that is dropped. */
  async ended(): Promise<void> {
    while ((await this.input.read(1).catch(() => undefined)) !== undefined);
  }

  close(): void {
    this.socket.destroy();
  }
}

/** Puts the chunks of a read together; every byte must come once. */
export function assemble(chunks: readonly Chunk[], offset: number, length: number): Uint8Array {
  const out = new Uint8Array(length);
  let covered = 0;
  for (const { type, payload } of chunks) {
    if (type >= CHUNK.error) throw new Error(`error ${payload.readUInt32BE()}: ${payload.subarray(6).toString()}`);
    if (type === CHUNK.none) continue;
    const at = Number(payload.readBigUInt64BE()) - offset;
    if (type === CHUNK.offsetHole) covered += payload.readUInt32BE(8);
    else {
      out.set(payload.subarray(8), at);
      covered += payload.length - 8;
    }
  }
  if (covered !== length) throw new Error(`${covered} of ${length} bytes came`);
  return out;
}

/** Data of `info` and `go`. */
export function goData(name = '', wanted: readonly number[] = []): Buffer {
  const text = Buffer.from(name);
  const bytes = Buffer.alloc(4 + text.length + 2 + 2 * wanted.length);
  bytes.writeUInt32BE(text.length);
  text.copy(bytes, 4);
  bytes.writeUInt16BE(wanted.length, 4 + text.length);
  wanted.forEach((info, i) => {
    bytes.writeUInt16BE(info, 6 + text.length + 2 * i);
  });
  return bytes;
}

/** Data of `listMetaContext` and `setMetaContext`. */
export function contextQuery(name: string, queries: readonly string[]): Buffer {
  const text = (value: string): Buffer => {
    const bytes = Buffer.from(`\0\0\0\0${value}`);
    bytes.writeUInt32BE(bytes.length - 4);
    return bytes;
  };
  const count = Buffer.alloc(4);
  count.writeUInt32BE(queries.length);
  return Buffer.concat([text(name), count, ...queries.map(text)]);
}

function cookieOf(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(value));
  return bytes;
}

function numberOf(cookie: Uint8Array): number {
  return Number(Buffer.from(cookie).readBigUInt64BE());
}
