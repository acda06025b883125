/** Connections to other agents, kept for the next request. Each carries one request at a time. */
import { validateHeaderValue } from 'node:http';
import net from 'node:net';
import tls, { createSecureContext, type SecureContext } from 'node:tls';
import { type Identity, isFor } from '../pieces/attestation.ts';
import { type Answer, AnswerReader } from './answer-reader.ts';

/** Connections to one node: idle ones that are kept, new ones at once, and all at most. */
const KEPT = 4;
const MOST_CONNECTING = 4;
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
  readonly alive: (filled: number) => void;
  /** The answer. */
  readonly answered: (answer: Answer) => void;
  /** None will come; `idle`: the node closed an idle connection just as it was used again, so that it has not seen the request. */
  readonly failed: (reason: string, idle: boolean) => void;
}

/** Ends a request, and its connection unless the answer is whole. */
export type EndExchange = () => void;

/** One node: its connections, and the requests that wait for one. */
interface Node {
  readonly open: Set<Connection>;
  readonly connecting: Set<Connection>;
  idle: Connection[];
  readonly waiting: Waiting[];
}

interface Waiting {
  readonly exchange: Exchange;
  /** The connection that it has got. */
  by?: Connection;
}

/** See the head of the file. */
export class PeerConnections {
  #context: SecureContext | undefined;
  readonly #nodes = new Map<string, Node>();
  #closed = false;

  /** Without an identity connections are in the clear. */
  constructor(identity: Identity | undefined) {
    // Made once: parsing the certificates for each connection costs more than the rest of it.
    this.#context = identity && contextOf(identity);
  }

  /** Makes connections with another certificate from now on; those that are open go on. Throws the system's error for damaged PEM. */
  use(identity: Identity): void {
    this.#context = contextOf(identity);
  }

  /**
   * Sends a request to a node, `address:port`, by the connection that is free first: an idle one, a new one, or one whose answer
   * comes meanwhile. Undefined, and nothing is sent, when too many are under way.
   */
  send(id: string, exchange: Exchange): EndExchange | undefined {
    const node = this.#nodes.get(id) ?? { open: new Set(), connecting: new Set(), idle: [], waiting: [] };
    node.idle = node.idle.filter((connection) => !connection.isBroken);
    const idle = node.idle.pop();
    if (idle === undefined && node.open.size - node.connecting.size + node.waiting.length >= MOST) return undefined;
    this.#nodes.set(id, node);
    if (idle !== undefined) {
      idle.use(exchange);
      return () => idle.end(exchange);
    }
    const waiting: Waiting = { exchange };
    node.waiting.push(waiting);
    exchange.connecting();
    if ([...node.connecting].some(({ isOpen }) => isOpen)) exchange.connected();
    this.#connect(id, node);
    return () => {
      if (waiting.by !== undefined) return waiting.by.end(exchange);
      const at = node.waiting.indexOf(waiting);
      if (at < 0) return;
      node.waiting.splice(at, 1);
      const [oldest] = node.connecting;
      if (oldest === undefined || node.connecting.size <= node.waiting.length) return;
      node.connecting.delete(oldest);
      oldest.abandon();
    };
  }

  /** Ends all connections. */
  close(): void {
    this.#closed = true;
    for (const { open, waiting } of this.#nodes.values()) {
      for (const { exchange } of waiting.splice(0)) exchange.failed('the agent stops', false);
      for (const connection of [...open]) connection.destroy();
    }
  }

  /** Makes connections for those who wait: few at once, since a handshake costs more than most answers. */
  #connect(id: string, node: Node): void {
    while (!this.#closed && node.connecting.size < Math.min(MOST_CONNECTING, node.waiting.length)) {
      const connection = new Connection(id, this.#context, {
        opened: () => {
          for (const { exchange } of node.waiting) exchange.connected();
        },
        free: () => {
          node.connecting.delete(connection);
          const next = node.waiting.shift();
          if (next === undefined) return this.#keep(node, connection);
          next.by = connection;
          connection.use(next.exchange);
          this.#connect(id, node);
        },
        unable: (reason) => {
          node.connecting.delete(connection);
          node.waiting.shift()?.exchange.failed(reason, false);
          this.#connect(id, node);
        },
        gone: () => {
          node.open.delete(connection);
          node.idle = node.idle.filter((one) => one !== connection);
          if (node.open.size === 0 && node.waiting.length === 0) this.#nodes.delete(id);
        },
      });
      node.open.add(connection);
      node.connecting.add(connection);
    }
  }

  #keep(node: Node, connection: Connection): void {
    if (this.#closed || node.idle.length >= KEPT) connection.destroy();
    else node.idle.push(connection);
  }
}

/** AES with short keys first: it costs the least of the three, and all processors of servers have instructions for it. */
const CIPHERS = 'TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256';

function contextOf(identity: Identity): SecureContext {
  return createSecureContext({ ...identity, minVersion: 'TLSv1.3', ciphers: CIPHERS });
}

interface Owner {
  /** The system has made the connection; the handshake comes next. */
  opened(): void;
  /** A request may be sent: the handshake is done, or an answer is whole. */
  free(): void;
  /** The connection could not be made. */
  unable(reason: string): void;
  gone(): void;
}

class Connection {
  readonly #id: string;
  readonly #owner: Owner;
  readonly #socket: net.Socket;
  #exchange: Exchange | undefined;
  #reader: AnswerReader | undefined;
  #state: 'connecting' | 'ready' | 'failed' = 'connecting';
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
      socket.once('connect', () => {
        owner.opened();
        this.#begin();
      });
    } else {
      // The name in a certificate is checked against the node's id below; no name of DNS is involved.
      const socket = tls.connect({ ...target, secureContext, checkServerIdentity: () => undefined });
      this.#socket = socket;
      socket.once('connect', () => owner.opened());
      socket.once('secureConnect', () => {
        const certificate = socket.getPeerX509Certificate();
        if (certificate === undefined || !isFor(certificate, id)) this.#fail('its certificate is for another node');
        else this.#begin();
      });
    }
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

  /** Whether the system has made it. */
  get isOpen(): boolean {
    return !this.#socket.connecting;
  }

  /** Sends a request: no other one may be under way. */
  use(exchange: Exchange): void {
    this.#exchange = exchange;
    this.#heard = false;
    this.#reader = new AnswerReader(exchange.limit, exchange.alive);
    exchange.connected();
    this.#socket.ref();
    this.#socket.setTimeout(0);
    this.#write(exchange);
  }

  /** Ends this exchange if it is still under way. */
  end(exchange: Exchange): void {
    if (this.#exchange !== exchange) return;
    this.#exchange = undefined;
    this.destroy();
  }

  /** Gives up making it: nobody waits for it any more. */
  abandon(): void {
    this.#state = 'failed';
    this.destroy();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  #begin(): void {
    this.#state = 'ready';
    this.#rest();
  }

  /** Takes the next request, or none: the connection then does not keep the process. */
  #rest(): void {
    this.#socket.unref();
    this.#socket.setTimeout(IDLE);
    this.#owner.free();
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
    if (reusable) this.#rest();
    else this.destroy();
    exchange.answered(answer);
  }

  #fail(reason: string): void {
    const exchange = this.#exchange;
    const connecting = this.#state === 'connecting';
    if (connecting) this.#state = 'failed';
    this.#exchange = undefined;
    this.destroy();
    if (connecting) this.#owner.unable(reason);
    exchange?.failed(reason, this.#used && !this.#heard);
  }
}

/** Throws the system's TypeError for a header that would break a request. */
export function checkHeaders(headers: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(headers)) validateHeaderValue(name, value);
}
