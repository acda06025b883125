/** The start of a connection: fixed newstyle negotiation, in which the client selects features. */
import { AccelError } from '../../base/error.ts';
import {
  BASE_ALLOCATION,
  EXPORT_FLAG,
  EXPORT_NAME_PADDING,
  exportReply,
  greeting,
  HANDSHAKE_FLAG,
  INFO,
  infoBlockSize,
  infoExport,
  NBD_MAGIC,
  OPTION,
  OPTION_MAGIC,
  OPTION_REPLY,
  OPTION_REPLY_MAGIC,
  optionHeader,
  optionReply,
} from './protocol.ts';
import type { ByteInput } from './socket-input.ts';
import type { ByteOutput } from './socket-output.ts';

/** The export, which has the empty name and is the only one. */
export interface NbdExport {
  /** Bytes of the device. */
  readonly size: number;
  /** For people, such as the image's reference. */
  readonly description: string;
  /** Largest read in bytes. */
  readonly maximumRead: number;
  /** Whether the device knows its holes, so that their place may be asked for. */
  readonly knowsHoles: boolean;
}

/** The result of the negotiation. */
export interface NbdSession {
  /** Answers come as chunks, which may say "a hole" and carry an error's text. */
  readonly structured: boolean;
  /** The client may ask where holes are. */
  readonly allocation: boolean;
}

/** Number of the context {@link BASE_ALLOCATION}; any would do. */
export const ALLOCATION_ID = 1;

/** Data of one option; a name has at most 4096 bytes. */
const MAX_OPTION_DATA = 65_536;
/** The size that file systems read in. */
const PREFERRED_READ = 4096;
const FLAGS = EXPORT_FLAG.hasFlags | EXPORT_FLAG.readOnly | EXPORT_FLAG.sendDf | EXPORT_FLAG.canMultiConn;

/**
 * Negotiates. Resolves to undefined when the client only wanted to look; rejects with `io-error` for what breaks the
 * protocol in a way that no answer is foreseen for.
 */
export async function negotiate(
  input: ByteInput,
  output: ByteOutput,
  served: NbdExport,
): Promise<NbdSession | undefined> {
  const ours = HANDSHAKE_FLAG.fixedNewstyle | HANDSHAKE_FLAG.noZeroes;
  await output.send(greeting.encode({ magic: NBD_MAGIC, optionMagic: OPTION_MAGIC, flags: ours }));
  const answer = await input.read(4);
  if (answer === undefined) return undefined;
  const flags = answer.readUInt32BE();
  if ((flags & ~ours) !== 0) throw broken('its flags', `a combination of ${ours}`, flags);
  return new Negotiation(input, output, served, (flags & HANDSHAKE_FLAG.noZeroes) !== 0).run();
}

/** Options until one of them begins the transmission. */
class Negotiation {
  readonly #input: ByteInput;
  readonly #output: ByteOutput;
  readonly #served: NbdExport;
  readonly #noZeroes: boolean;
  #structured = false;
  #allocation = false;

  constructor(input: ByteInput, output: ByteOutput, served: NbdExport, noZeroes: boolean) {
    this.#input = input;
    this.#output = output;
    this.#served = served;
    this.#noZeroes = noZeroes;
  }

  async run(): Promise<NbdSession | undefined> {
    for (;;) {
      const head = await this.#input.read(optionHeader.size);
      if (head === undefined) return undefined;
      const { magic, option, length } = optionHeader.read(head);
      if (Buffer.compare(magic, OPTION_MAGIC) !== 0)
        throw broken('an option', 'IHAVEOPT', Buffer.from(magic).toString('hex'));
      if (length > MAX_OPTION_DATA) throw broken('an option', `at most ${MAX_OPTION_DATA} bytes`, length);
      const data = await this.#input.readAll(length);
      const outcome = await this.#take(option, data);
      if (outcome === 'abort') return undefined;
      if (outcome === 'transmit') return { structured: this.#structured, allocation: this.#allocation };
    }
  }

  async #take(option: number, data: Buffer): Promise<'next' | 'abort' | 'transmit'> {
    switch (option) {
      case OPTION.exportName:
        return this.#exportName(data);
      case OPTION.abort:
        await this.#reply(option, OPTION_REPLY.ack);
        return 'abort';
      case OPTION.list:
        return this.#list(data);
      case OPTION.info:
      case OPTION.go:
        return this.#go(option, data);
      case OPTION.structuredReply:
        if (data.length > 0) return this.#refuse(option, OPTION_REPLY.invalid, 'this option has no data');
        this.#structured = true;
        await this.#reply(option, OPTION_REPLY.ack);
        return 'next';
      case OPTION.listMetaContext:
      case OPTION.setMetaContext:
        return this.#metaContext(option, data);
      default:
        return this.#refuse(option, OPTION_REPLY.unsupported, 'not supported');
    }
  }

  /** The oldest way to start; it has no answer for a wrong name. */
  async #exportName(name: Buffer): Promise<'transmit'> {
    if (name.length > 0) throw broken('the name of an export', 'the empty name', `${name.length} bytes`);
    const reply = exportReply.encode({ size: this.#served.size, flags: FLAGS });
    await this.#output.send(reply, new Uint8Array(this.#noZeroes ? 0 : EXPORT_NAME_PADDING));
    return 'transmit';
  }

  async #list(data: Buffer): Promise<'next'> {
    if (data.length > 0) return this.#refuse(OPTION.list, OPTION_REPLY.invalid, 'this option has no data');
    // The length of the empty name, then the text for people.
    await this.#reply(OPTION.list, OPTION_REPLY.server, Buffer.alloc(4), Buffer.from(this.#served.description));
    await this.#reply(OPTION.list, OPTION_REPLY.ack);
    return 'next';
  }

  async #go(option: number, data: Buffer): Promise<'next' | 'transmit'> {
    const fields = new Fields(data);
    const name = fields.text();
    const wanted = Array.from({ length: fields.u16() }, () => fields.u16());
    if (!fields.atEnd) return this.#refuse(option, OPTION_REPLY.invalid, 'the data does not fit together');
    if (name !== '') return this.#refuse(option, OPTION_REPLY.unknown, 'there is only the export with the empty name');
    const { size, description, maximumRead } = this.#served;
    const info = (...parts: readonly Uint8Array[]) => this.#reply(option, OPTION_REPLY.info, ...parts);
    await info(infoExport.encode({ type: INFO.export, size, flags: FLAGS }));
    await info(
      infoBlockSize.encode({ type: INFO.blockSize, minimum: 1, preferred: PREFERRED_READ, maximum: maximumRead }),
    );
    if (wanted.includes(INFO.name)) await info(u16(INFO.name));
    if (wanted.includes(INFO.description)) await info(u16(INFO.description), Buffer.from(description));
    await this.#reply(option, OPTION_REPLY.ack);
    return option === OPTION.go ? 'transmit' : 'next';
  }

  async #metaContext(option: number, data: Buffer): Promise<'next'> {
    const fields = new Fields(data);
    const name = fields.text();
    const count = fields.u32();
    const queries: string[] = [];
    while (queries.length < count && fields.isSound) queries.push(fields.text());
    if (!fields.atEnd) return this.#refuse(option, OPTION_REPLY.invalid, 'the data does not fit together');
    if (!this.#structured)
      return this.#refuse(option, OPTION_REPLY.invalid, 'contexts need structured replies, which come first');
    if (name !== '') return this.#refuse(option, OPTION_REPLY.unknown, 'there is only the export with the empty name');
    const listing = option === OPTION.listMetaContext;
    const asked = queries.includes(BASE_ALLOCATION) || (listing && (queries.length === 0 || queries.includes('base:')));
    const offered = asked && this.#served.knowsHoles;
    if (!listing) this.#allocation = offered;
    if (offered) {
      const id = Buffer.alloc(4);
      id.writeUInt32BE(listing ? 0 : ALLOCATION_ID);
      await this.#reply(option, OPTION_REPLY.metaContext, id, Buffer.from(BASE_ALLOCATION));
    }
    await this.#reply(option, OPTION_REPLY.ack);
    return 'next';
  }

  async #refuse(option: number, type: number, why: string): Promise<'next'> {
    await this.#reply(option, type, Buffer.from(why));
    return 'next';
  }

  #reply(option: number, type: number, ...data: readonly Uint8Array[]): Promise<void> {
    const length = data.reduce((sum, part) => sum + part.length, 0);
    return this.#output.send(optionReply.encode({ magic: OPTION_REPLY_MAGIC, option, type, length }), ...data);
  }
}

/** Reads the data of an option; what does not fit reads as nothing, and {@link Fields.atEnd} is false then. */
class Fields {
  readonly #data: Buffer;
  #at = 0;
  #sound = true;

  constructor(data: Buffer) {
    this.#data = data;
  }

  /** Whether everything so far was there. */
  get isSound(): boolean {
    return this.#sound;
  }

  /** Whether everything was there, and nothing else. */
  get atEnd(): boolean {
    return this.#sound && this.#at === this.#data.length;
  }

  u16(): number {
    return this.#take(2)?.readUInt16BE() ?? 0;
  }

  u32(): number {
    return this.#take(4)?.readUInt32BE() ?? 0;
  }

  /** A 32-bit length and as many bytes. */
  text(): string {
    return this.#take(this.u32())?.toString('utf8') ?? '';
  }

  #take(length: number): Buffer | undefined {
    this.#sound &&= length <= this.#data.length - this.#at;
    if (!this.#sound) return undefined;
    this.#at += length;
    return this.#data.subarray(this.#at - length, this.#at);
  }
}

function u16(value: number): Uint8Array {
  return Uint8Array.of(value >> 8, value & 0xff);
}

function broken(what: string, expected: string, found: string | number): AccelError {
  return new AccelError('io-error', `the client breaks the NBD protocol in ${what}`, { expected, found });
}
