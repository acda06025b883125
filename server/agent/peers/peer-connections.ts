/** Connections to other agents, kept for the next request. Each carries one request at a time. */
import { validateHeaderValue } from 'node:http';
import net from 'node:net';
import tls, { createSecureContext, type SecureContext } from 'node:tls';
import { type Identity, isFor } from '../pieces/attestation.ts';
import { type Answer, AnswerReader } from './answer-reader.ts';

/** Idle connections to one node that are kept, and most at once. */
const KEPT = 4;
const MOST = 256;
/** Milliseconds for which a connection is kept: less than the other side keeps it, which is a minute. */
const IDLE = 50_000;
/**
 * Where the system puts the bytes that come, of all connections: they are copied from there at once. A buffer for each read would
 * cost more than the copy.
 */
const INCOMING = Buffer.allocUnsafeSlow(256 * 1024);

/** A request, and who hears of its course. */
export interface Exchange {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Buffer | undefined;
  /** Most bytes of the answer. */
  readonly limit: number;
  /** A connection is being made, and it has been made. */
  readonly connecting: () => void;
  readonly connected: () => void;
  /** An informational answer or a part of the body has come. */
  readonly alive: () => void;
  /** The answer. */
  readonly answered: (answer: Answer) => void;
  /** None will come; `idle`: the node closed an idle connection just as it was used again, so that it has not seen the request. */
  readonly failed: (reason: string, idle: boolean) => void;
}

/** Ends a request, and its connection unless the answer is whole. */
export type EndExchange = () => void;

/** See the head of the file. */
export class PeerConnections {
  readonly #context: SecureContext | undefined;
  readonly #idle = new Map<string, Connection[]>();
  readonly #open = new Map<string, Set<Connection>>();
  #closed = false;

  /** Without an identity connections are in the clear. */
  constructor(identity: Identity | undefined) {
    // Made once: parsing the certificates for each connection costs more than the rest of it.
    this.#context =
      identity === undefined
        ? undefined
        : createSecureContext({ ...identity, minVersion: 'TLSv1.3', ciphers: CIPHERS });
  }

  /** Sends a request to a node, `address:port`. Undefined, and nothing is sent, when too many are under way. */
  send(id: string, exchange: Exchange): EndExchange | undefined {
    let idle = this.#idle.get(id)?.pop();
    while (idle?.isBroken) idle = this.#idle.get(id)?.pop();
    const open = this.#open.get(id) ?? new Set();
    if (idle === undefined && open.size >= MOST) return undefined;
    const connection = idle ?? this.#connect(id, open);
    connection.use(exchange);
    return () => connection.end(exchange);
  }

  /** Ends all connections. */
  close(): void {
    this.#closed = true;
    for (const open of this.#open.values()) for (const connection of [...open]) connection.destroy();
  }

  #connect(id: string, open: Set<Connection>): Connection {
    const connection = new Connection(id, this.#context, {
      idle: () => this.#keep(id, connection),
      gone: () => {
        open.delete(connection);
        if (open.size === 0) this.#open.delete(id);
        const kept = this.#idle.get(id)?.filter((one) => one !== connection) ?? [];
        if (kept.length > 0) this.#idle.set(id, kept);
        else this.#idle.delete(id);
      },
    });
    open.add(connection);
    this.#open.set(id, open);
    return connection;
  }

  #keep(id: string, connection: Connection): void {
    const kept = this.#idle.get(id) ?? [];
    if (this.#closed || kept.length >= KEPT) connection.destroy();
    else this.#idle.set(id, [...kept, connection]);
  }
}

/** AES with short keys first: it costs the least of the three, and all processors of servers have instructions for it. */
const CIPHERS = 'TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256';

interface Owner {
  /** The answer is whole, and another request may follow. */
  idle(): void;
  gone(): void;
}

class Connection {
  readonly #id: string;
  readonly #owner: Owner;
  readonly #socket: net.Socket;
  #exchange: Exchange | undefined;
  #reader: AnswerReader | undefined;
  #ready = false;
  #used = false;
  #heard = false;

  constructor(id: string, secureContext: SecureContext | undefined, owner: Owner) {
    this.#id = id;
    this.#owner = owner;
    const colon = id.lastIndexOf(':');
    const target = {
      host: id.slice(0, colon).replace(/^\[|\]$/g, ''),
      port: Number(id.slice(colon + 1)),
      noDelay: true,
      keepAlive: true,
      onread: { buffer: INCOMING, callback: (bytes: number) => this.#take(bytes) },
    };
    if (secureContext === undefined) {
      const socket = net.connect(target);
      this.#socket = socket;
      socket.once('connect', () => this.#begin());
    } else {
      // The name in a certificate is checked against the node's id below; no name of DNS is involved.
      const socket = tls.connect({ ...target, secureContext, checkServerIdentity: () => undefined });
      this.#socket = socket;
      socket.once('secureConnect', () => {
        const certificate = socket.getPeerX509Certificate();
        if (certificate === undefined || !isFor(certificate, id)) this.#fail('its certificate is for another node');
        else this.#begin();
      });
    }
    this.#socket.once('connect', () => this.#exchange?.connected());
    this.#socket.on('timeout', () => this.destroy());
    this.#socket.on('error', (error) => this.#fail(error.message));
    this.#socket.on('end', () => this.#fail('the connection broke'));
    this.#socket.on('close', () => {
      this.#fail('the connection broke');
      owner.gone();
    });
  }

  /** Whether it has ended, though its socket may not have said so yet. */
  get isBroken(): boolean {
    return this.#socket.destroyed;
  }

  use(exchange: Exchange): void {
    this.#exchange = exchange;
    this.#heard = false;
    this.#reader = new AnswerReader(exchange.limit, exchange.alive);
    if (!this.#ready) exchange.connecting();
    else {
      this.#socket.ref();
      this.#socket.setTimeout(0);
      this.#write(exchange);
    }
  }

  /** Ends this exchange if it is still under way. */
  end(exchange: Exchange): void {
    if (this.#exchange !== exchange) return;
    this.#exchange = undefined;
    this.destroy();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  #begin(): void {
    this.#ready = true;
    if (this.#exchange !== undefined) this.#write(this.#exchange);
  }

  #write({ method, path, headers, body }: Exchange): void {
    let head = `${method} ${path} HTTP/1.1\r\nhost: ${this.#id}\r\n`;
    for (const [name, value] of Object.entries(headers)) head += `${name}: ${value}\r\n`;
    this.#socket.cork();
    this.#socket.write(`${head}\r\n`, 'latin1');
    if (body !== undefined) this.#socket.write(body);
    this.#socket.uncork();
  }

  /** Takes in what has come; true: more is welcome. */
  #take(bytes: number): boolean {
    this.#heard = true;
    const exchange = this.#exchange;
    if (exchange === undefined) {
      // Nobody asked for anything.
      this.destroy();
      return true;
    }
    try {
      const read = this.#reader!.take(INCOMING.subarray(0, bytes));
      if (read !== undefined) this.#finish(exchange, read.answer, read.reusable);
    } catch (error) {
      this.#fail((error as Error).message);
    }
    return true;
  }

  #finish(exchange: Exchange, answer: Answer, reusable: boolean): void {
    this.#exchange = undefined;
    this.#reader = undefined;
    this.#used = true;
    if (reusable) {
      this.#socket.unref();
      this.#socket.setTimeout(IDLE);
      this.#owner.idle();
    } else this.destroy();
    exchange.answered(answer);
  }

  #fail(reason: string): void {
    const exchange = this.#exchange;
    this.#exchange = undefined;
    this.destroy();
    exchange?.failed(reason, this.#used && !this.#heard);
  }
}

/** Throws the system's TypeError for a header that would break a request. */
export function checkHeaders(headers: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(headers)) validateHeaderValue(name, value);
}
